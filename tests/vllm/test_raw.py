"""Raw graphs of a recorded run: they run as they are, with any number of tokens, and show what a pass computes."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Finished

PROGRAM = Path(__file__).with_name("vllm_raw.py")
SIZES = ("5", "12")
Result = dict[str, Any]


def raw_files(run: Finished) -> list[Path]:
    return [
        run.process / file["path"] for step in run.of("snapshot") for file in step["files"] if file["kind"] == "raw"
    ]


def environment() -> dict[str, str]:
    """Without what made the recorded run vLLM's: a raw graph is a script like any other."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "CUTAWAY"))} | {
        "OMP_NUM_THREADS": "1"
    }


@pytest.fixture(scope="module", name="results")
def _results(recorded: Finished, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    out = tmp_path_factory.mktemp("raw") / "results.json"
    command = [sys.executable, str(PROGRAM), str(out), *map(str, raw_files(recorded)), "--", *SIZES]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return json.loads(out.read_text())


def test_nearly_all_run_and_the_others_say_why_not(recorded: Finished, results: list[Result]) -> None:
    failed = {result["file"]: result["error"] for result in results if result["error"]}
    silent = [(file, error) for file, error in failed.items() if "CANNOT RUN" not in Path(file).read_text()]
    assert silent == []
    assert len(failed) <= 0.05 * len(raw_files(recorded))


def test_outputs_follow_the_size(results: list[Result]) -> None:
    """Two sizes give outputs of two shapes; a graph for a single size ran once, with numbers."""
    by_file: dict[str, list[Result]] = {}
    for result in results:
        by_file.setdefault(result["file"], []).append(result)
    for file, ran in by_file.items():
        shapes = [re.findall(r"\[(\d+)", result["output"]) for result in ran]
        if "/range_8_8/" in file and ".pre_grad." not in file:
            assert [result["size"] for result in ran] == [None]
            assert set(shapes[0]) == {"8"}
        elif "/backbone/" in file and any(shapes):
            assert [set(found) for found in shapes] == [{"5"}, {"12"}]


def test_passes_change_no_numbers(results: list[Result]) -> None:
    """Each graph of a piece and range, from AOTAutograd to the last, has the same outputs for the same inputs."""
    first: dict[tuple[str, Any], tuple[str, list[float]]] = {}
    for result in results:
        folder = re.search(r"/\d+\.(piece_\d+/range_\w+)/", result["file"])
        if folder is None or ".pre_grad." in result["file"]:
            continue
        sums = [float(found) for found in re.findall(r" sum (\S+)$", result["output"], re.MULTILINE)]
        file, expected = first.setdefault((folder[1], result["size"]), (result["file"], sums))
        same = len(sums) == len(expected) and all(map(nearly, sums, expected))
        assert same, f"{result['file']} gives {sums}, {file} gave {expected}"
    assert {place for place, _ in first} == {
        f"piece_{piece}/range_{sizes}" for piece in ("00", "02", "08") for sizes in ("8_8", "1_16")
    }


def nearly(one: float, other: float) -> bool:
    """Equal but for rounding; memory that attention will fill is NaN in both."""
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-2)


def test_runs_by_itself(recorded: Finished) -> None:
    """The whole model, which imports most of vLLM."""
    file = recorded.process / "backbone" / "00.captured.py"
    symbol = re.search(r"def example_inputs\((\w+)=", file.read_text())
    assert symbol
    done = subprocess.run(
        [sys.executable, str(file), f"{symbol[1]}=3"], env=environment(), capture_output=True, text=True, check=True
    )
    assert "output 0: torch.float32 [3, " in done.stdout
