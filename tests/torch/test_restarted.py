"""An attempt that Dynamo gives up after the graph was handed over is no failure: the next one is what runs."""

from __future__ import annotations

from pathlib import Path

import torch
from recordings import check, recorded
from torch import Tensor

import cutaway
from cutaway.dump import load


def chooses(x: Tensor) -> Tensor:
    """The float that ``item()`` gives becomes a tensor's element, once the graph is known: Dynamo begins again."""
    return x * 2 if x.sum().item() > 1e9 else x.sin()


def fails(gm: torch.fx.GraphModule, inputs: object) -> object:
    raise RuntimeError("exploded")


def test_an_attempt_that_was_given_up(tmp_path: Path) -> None:
    torch._dynamo.reset()
    with cutaway.record(tmp_path):
        torch.compile(chooses, dynamic=True)(torch.randn(8, 4))
    check(tmp_path)
    dump = load(tmp_path)
    first = next(each for each in dump if each.restarted_as)
    assert (first.failed, first.finished) == (None, True)
    assert first.restarted_as == f"{first.name}~2"
    assert dump[first.restarted_as].finished
    index = recorded(tmp_path).folder / first.name / "index.md"
    assert f"restarted: Dynamo gave this attempt up; `{first.restarted_as}` is what runs" in index.read_text()
    assert [each.failed for each in dump if each.failed] == []


def test_why_a_backend_failed_is_told_in_the_index(tmp_path: Path) -> None:
    torch._dynamo.reset()
    try:
        with cutaway.record(tmp_path):
            torch.compile(chooses, backend=fails)(torch.randn(8, 4))
    except torch._dynamo.exc.BackendCompilerFailed:
        pass
    index = next(recorded(tmp_path).folder.glob("*/index.md"))
    line = next(line for line in index.read_text().splitlines() if line.startswith("- **failed**"))
    assert "exploded" in line
