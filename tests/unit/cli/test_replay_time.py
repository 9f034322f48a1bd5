"""`cutaway replay --time`: what it says of measurements, and of what cannot be asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from cutaway.cli import main
from cutaway.cli.output import write_lines
from cutaway.cli.replay_time import timing_json, timing_lines
from cutaway.replay.timing import Spread, Timed, Timing

MICRO = 1e-6


def spread(median: float, width: float = 0.02) -> Spread:
    return Spread(median, median * (1 - width), median * (1 + width), median * (1 - 2 * width), 30)


def timing(*rows: Timed, **facts: Any) -> Timing:
    known: dict[str, Any] = {
        "name": "backbone/piece_02/range_1_16/post_grad",
        "against": None,
        "sizes": {"s72": 16},
        "seed": 0,
        "inputs": 5,
        "recorded": (),
        "devices": ("cpu",),
        "threads": 2,
        "cores": 2,
        "load": 0.25,
        "notes": ("measured on the CPU of this machine",),
    }
    return Timing(rows=rows, **{**known, **facts})


ALONE = timing(
    Timed("post_grad", "eager", spread(812.3 * MICRO), 5, 0.5),
    Timed("post_grad", "compiled", spread(0.0973), 1, 9.5, ratio=spread(1.004), ratio_of_fastest=0.9, to=0),
    Timed("output_code", "code", spread(88 * 1e-9), 9000, 4.5, ratio=spread(0.00011), to=0),
)
AGAINST = timing(
    Timed("captured", "eager", spread(2.5), 1, 0.5),
    Timed("captured", "compiled", why_not="TypeError: it takes a module"),
    Timed("post_grad", "eager", spread(1.25), 1, 0.5, ratio=spread(0.5, 0.3), ratio_of_fastest=0.47, to=0),
    against="captured",
    devices=("cuda:0 (NVIDIA H200)",),
    sizes={},
    recorded=("x", "y"),
    load=None,
    notes=(),
)


@pytest.mark.parametrize("found", [ALONE, AGAINST], ids=["alone", "against"])
def test_text(found: Timing, capsys: pytest.CaptureFixture[str], snapshot: SnapshotAssertion) -> None:
    write_lines(timing_lines(found))
    assert capsys.readouterr().out == snapshot


def test_json() -> None:
    shape = json.loads(json.dumps(timing_json(AGAINST)))
    assert [way["how"] for way in shape["ways"]] == ["eager", "compiled", "eager"]
    assert shape["ways"][1] == {
        "name": "captured",
        "how": "compiled",
        "seconds": None,
        "calls": 0,
        "first": 0.0,
        "ratio": None,
        "ratio_of_fastest": None,
        "to": None,
        "why_not": "TypeError: it takes a module",
    }
    assert shape["ways"][2]["ratio"]["median"] == 0.5
    assert shape["ways"][2]["to"] == 0
    assert shape["ways"][0]["seconds"] == {"median": 2.5, "low": 2.45, "high": 2.55, "least": 2.4, "count": 30}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time", "--rtol", "1"], "error: --rtol does not go with that. Nothing is compared with --time."),
        (["--time", "--memory", "1GB"], "error: --memory does not go with that."),
        (["--repeats", "3"], "error: --repeats does not go with that. Nothing is measured without --time."),
        (["--time", "--repeats", "0"], "error: --repeats is 0."),
    ],
    ids=["rtol", "memory", "repeats", "none"],
)
def test_bad_use(dump: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", dump, "backbone/captured", *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert captured.out == ""
