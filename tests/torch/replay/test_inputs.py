"""The real inputs of compiled graphs: kept when asked for, under a limit, and replayed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from programs import Mlp, numbers
from recordings import check, python, recorded
from replay import programs_to_replay as programs
from replay.replays import replayed, stages

import cutaway
from cutaway.dump import load

LAST = "Stack.forward/post_grad"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A recording with its inputs, and what the call returned."""
    path = tmp_path_factory.mktemp("kept")
    return path, programs.record_stack(path, save_inputs="1MB")


def test_they_are_those_of_the_call(kept: tuple[Path, torch.Tensor]) -> None:
    """Run again with them, the graph returns what the compiled one did."""
    path, result = kept
    found = replayed(path, LAST, inputs="recorded")
    assert len(found.recorded) == found.inputs
    assert set(found.sizes.values()) == {2, programs.ROWS}
    (output,) = found.runs[0].outputs
    assert output.type == "f32[2, 6, 8]"
    assert output.total == pytest.approx(float(result.double().sum()), rel=1e-5)


def test_other_stages_take_the_same(kept: tuple[Path, torch.Tensor]) -> None:
    """Each earlier graph takes them in its own order."""
    path, result = kept
    for name in stages(load(path)):
        found = replayed(path, name, inputs="recorded")
        assert len(found.recorded) == found.inputs, name
        assert found.runs[0].outputs[0].total == pytest.approx(float(result.double().sum()), rel=1e-5), name
    assert replayed(path, LAST, "eager", inputs="recorded").outcome in ("same", "close")


def test_what_is_written(kept: tuple[Path, torch.Tensor]) -> None:
    """One event, one file a tensor; nothing at a later call; the dump is whole."""
    recording = recorded(kept[0])
    (event,) = recording.of("inputs")
    assert (event["selector"], event["trial"]) == ("Stack.forward/inputs", False)
    files = {one["file"] for one in event["inputs"] if "file" in one}
    assert {file for file in recording.files if file.startswith("inputs/")} == files
    rows = next(one for one in event["inputs"] if one.get("shape") == [2, 6, 8])
    assert torch.equal(torch.load(recording.folder / rows["file"], weights_only=True), programs.rows())
    check(kept[0])


def test_only_the_first_call_and_only_when_asked_for(tmp_path: Path) -> None:
    model = torch.compile(Mlp(8))
    with cutaway.record(tmp_path / "kept", save_inputs="1MB"):
        loss = model(numbers(4, 8)).sum()
        loss.backward()
        model(numbers(4, 8, seed=1)).sum().backward()
    events = recorded(tmp_path / "kept").of("inputs")
    assert [event["phase"] for event in events] == ["forward", "backward"]
    found = replayed(tmp_path / "kept", "backward/post_grad", inputs="recorded")
    assert len(found.recorded) == found.inputs
    torch._dynamo.reset()
    with torch.compiler.config.patch(cache_key_tag="not asked for"), cutaway.record(tmp_path / "plain"):
        torch.compile(Mlp(8))(numbers(4, 8))
    assert recorded(tmp_path / "plain").of("inputs") == []
    assert not (recorded(tmp_path / "plain").folder / "inputs").exists()


def test_under_a_limit(tmp_path: Path) -> None:
    """The small ones are kept; what is left out is said, and made with the seed."""
    programs.record_stack(tmp_path, save_inputs=400)
    (event,) = recorded(tmp_path).of("inputs")
    written = [(recorded(tmp_path).folder / one["file"]) for one in event["inputs"] if "file" in one]
    assert written
    assert sum(torch.load(file, weights_only=True).nbytes for file in set(written)) <= 400
    left = [one["left_out"] for one in event["inputs"] if "left_out" in one]
    assert all(text.endswith("more than is left of the limit of 400") for text in left)
    found = replayed(tmp_path, LAST, "eager", inputs="recorded")
    assert found.outcome in ("same", "close")
    assert 0 < len(found.recorded) < found.inputs
    assert any("limit of 400" in note for note in found.notes)


def test_a_file_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    programs.record_stack(tmp_path, save_inputs="1MB")
    (event,) = recorded(tmp_path).of("inputs")
    file = recorded(tmp_path).folder / next(one["file"] for one in event["inputs"] if "file" in one)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(AssertionError, match="was changed since it was recorded"):  # what the child raised
        replayed(tmp_path, LAST, inputs="recorded")


PROGRAM = """
import torch
def doubled(x):
    return x * 2 + x.sin()
print(torch.compile(doubled)(torch.arange(6.0)).sum().item())
"""


def test_a_whole_program(tmp_path: Path) -> None:
    """`cutaway run --save-inputs`, then `cutaway replay --inputs recorded`, each in a process of its own."""
    (tmp_path / "program.py").write_text(PROGRAM)
    dump = str(tmp_path / "dump")
    command = ["-m", "cutaway.cli", "run", "--dump", dump, "--save-inputs", "1MB", "--"]
    ran = python(*command, sys.executable, str(tmp_path / "program.py"))
    replay = python("-m", "cutaway.cli", "replay", dump, "post_grad", "--inputs", "recorded", "--json")
    found = json.loads(replay.stdout)
    assert len(found["recorded"]) == found["inputs"] == 1
    assert found["runs"][0]["outputs"][0]["total"] == pytest.approx(float(ran.stdout), rel=1e-6)
    assert "replay executes code of the dump" in replay.stderr
