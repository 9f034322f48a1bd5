"""A recorded run compiles the same code to the same results, and shares its caches with one that is not recorded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recordings import HERE, Recorded, check, python, recorded

from cutaway.record.output_code import digest


def compiled(*caches: Path, **environment: str) -> list[dict[str, Any]]:
    """What a process of its own says that it compiled in each of these caches."""
    names = map(str, caches)
    return json.loads(python(str(HERE / "identity.py"), *names, **environment).stdout)


@dataclass
class Runs:
    """Two caches, each filled by one and used by the other."""

    cold_on: dict[str, Any]  # fills X
    warm_off: dict[str, Any]  # uses X, in a process that Cutaway keeps out of
    cold_off: dict[str, Any]  # fills Y, in that process
    warm_on: dict[str, Any]  # uses Y
    cold: Recorded
    warm: Recorded


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    path = tmp_path_factory.mktemp("identical")
    x, y = path / "x", path / "y"
    (cold_on,) = compiled(x, CUTAWAY_DUMP=str(path / "cold"))
    warm_off, cold_off = compiled(x, y, CUTAWAY="0", CUTAWAY_DUMP=str(path / "not"))
    (warm_on,) = compiled(y, CUTAWAY_DUMP=str(path / "warm"))
    assert not (path / "not").exists()
    return Runs(cold_on, warm_off, cold_off, warm_on, recorded(path / "cold"), recorded(path / "warm"))


def test_results_are_equal_to_the_bit(runs: Runs) -> None:
    assert len(runs.cold_off["values"]) == 6
    for found in (runs.cold_on, runs.warm_on, runs.warm_off):
        assert found["values"] == runs.cold_off["values"]


def test_the_generated_code_is_the_same(runs: Runs) -> None:
    assert len(runs.cold_off["code"]) > 5
    numbered = re.compile("^# AOT ID: .*$", re.MULTILINE)  # a running number; the cold run without was the second
    assert [numbered.sub("", text) for text in runs.cold_on["code"]] == [
        numbered.sub("", text) for text in runs.cold_off["code"]
    ]


def test_the_cache_keys_are_the_same(runs: Runs) -> None:
    assert len(runs.cold_off["keys"]) == 3
    assert runs.cold_on["keys"] == runs.cold_off["keys"]
    assert runs.cold_on["aot_keys"] == runs.cold_off["aot_keys"]


def test_a_recorded_run_fills_the_cache_for_one_that_is_not(runs: Runs) -> None:
    assert (runs.cold_on["hits"], runs.cold_on["misses"], runs.cold_on["bypasses"]) == (0, 3, 0)
    assert (runs.warm_off["misses"], runs.warm_off["bypasses"]) == (0, 0)
    assert runs.warm_off["aot_hits"] == 2


def test_and_the_other_way_round(runs: Runs) -> None:
    assert (runs.cold_off["hits"], runs.cold_off["misses"], runs.cold_off["bypasses"]) == (0, 3, 0)
    assert (runs.warm_on["misses"], runs.warm_on["bypasses"]) == (0, 0)
    assert runs.warm_on["aot_hits"] == 2


def test_both_dumps_are_whole(runs: Runs) -> None:
    for recording in (runs.cold, runs.warm):
        check(recording.folder.parents[1])
        assert recording.of("error") == []


def test_a_warm_start_shows_the_same_code_and_says_that_it_was_cached(runs: Runs) -> None:
    def codes(recording: Recorded) -> dict[str, str]:
        texts = {
            event["selector"]: recording.read(event["files"][0]["path"])
            for event in recording.of("code", kind="output_code")
        }
        return {selector: digest(text[text.index("# AOT ID") :]) for selector, text in texts.items()}

    assert codes(runs.warm) == codes(runs.cold)
    assert len(codes(runs.warm)) == 3
    assert {event["cached"] for event in runs.cold.of("code", kind="output_code")} == {False}
    assert {event["cached"] for event in runs.warm.of("code", kind="output_code")} == {True}
    assert {event["result"] for event in runs.warm.of("cache", kind="aot_autograd")} == {"hit"}


def test_a_warm_start_shows_the_last_graph_as_text(runs: Runs) -> None:
    (event,) = runs.warm.of("code", kind="post_grad_text", compilation="Mlp.forward.2")
    assert "aten.addmm" in runs.warm.read(event["files"][0]["path"])


def test_what_was_captured_is_the_same_graph(runs: Runs) -> None:
    def captured(recording: Recorded) -> list[str]:
        return [event["graph"] for event in recording.of("snapshot", stage="captured")]

    assert captured(runs.warm) == captured(runs.cold)
