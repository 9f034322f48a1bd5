"""A graph against what Inductor makes of it here: right where Inductor is right, and at the node where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from programs import branching, numbers
from replay import programs_to_replay as programs
from replay.replays import replayed
from torch import fx
from torch._inductor import config as inductor_config

import cutaway

RIGHT = ("same", "close")


@pytest.fixture(autouse=True)
def _by_itself() -> Iterator[None]:
    """A fork has none of the threads that compile."""
    with inductor_config.patch(compile_threads=1):
        yield


def record(path: Path, function: Callable[..., object], *args: torch.Tensor) -> None:
    with cutaway.record(path), torch.no_grad():
        torch.compile(function, backend="aot_eager")(*args)
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stack")
    record(path, programs.stack(), programs.rows())
    return path


@pytest.mark.parametrize("stage", ["captured", "aot_forward"])
def test_what_is_right(stack: Path, stage: str) -> None:
    found = replayed(stack, stage, "compiled")
    assert found.against == "compiled"
    assert found.outcome in RIGHT
    assert (found.part, found.differ, found.elsewhere) == (None, None, None)


def test_memory_and_numbers_that_no_input_gives(tmp_path: Path) -> None:
    """They are made in the compiled graph, too, and are written to there."""
    table = torch.arange(8.0)

    def filled(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        buffer, blank = torch.empty_like(x), torch.empty(4, 8)
        buffer[:2] = x[:2].sin()
        buffer[2:] = torch.arange(8.0) + table
        return buffer * 2, blank, x.mul_(2)

    record(tmp_path, filled, numbers(4, 8))
    for stage in ("captured", "aot_forward"):
        found = replayed(tmp_path, stage, "compiled")
        assert found.outcome in RIGHT
        assert [result.comparison.verdict for result in found.results][1] == "unwritten"


def test_random_numbers(tmp_path: Path) -> None:
    """Compiled code draws others; what does not depend on them is compared."""
    record(tmp_path, lambda x: (x + torch.rand(4), x.cos()), numbers(4))
    found = replayed(tmp_path, "captured", "compiled")
    assert found.outcome in RIGHT
    assert [result.is_random for result in found.results] == [True, False]
    assert found.part is None


def test_a_branch(tmp_path: Path) -> None:
    record(tmp_path, branching, numbers(4))
    assert replayed(tmp_path, "captured", "compiled").outcome in RIGHT


def _second_tanh(graph: fx.Graph) -> fx.Node:
    return [node for node in graph.nodes if node.target is torch.ops.aten.tanh.default][1]


def always(graph: fx.Graph) -> None:
    """The second of them becomes a sine."""
    _second_tanh(graph).target = torch.ops.aten.sin.default


def when_read_once(graph: fx.Graph) -> None:
    """The same, where nothing else reads its result: made a result of the graph beside that, it is right."""
    found = [node for node in graph.nodes if node.target is torch.ops.aten.tanh.default]
    if len(found) > 1 and len(found[1].users) == 1:
        found[1].target = torch.ops.aten.sin.default


@pytest.mark.parametrize(("fault", "method"), [(always, "outputs"), (when_read_once, "prefixes")])
def test_a_fault_of_inductor(tmp_path: Path, fault: Callable[[fx.Graph], None], method: str) -> None:
    """It is found at its node, also one that is gone as soon as one looks at it."""

    def curved(x: torch.Tensor) -> torch.Tensor:
        x = (x * 2).tanh() + 1
        x = (x * 3).tanh() - 1
        return (x.exp() * 4).cos()

    record(tmp_path, curved, numbers(4, 8))
    with inductor_config.patch(post_grad_custom_post_pass=programs.Fault(fault)):
        found = replayed(tmp_path, "captured", "compiled")
    assert (found.outcome, found.method) == ("apart", method)
    assert found.part is not None
    assert found.part.after is not None
    assert found.part.after.line.endswith(".tanh()")
    assert found.part.after.source is not None
    assert found.part.after.source.code == "x = (x * 3).tanh() - 1"
    assert found.part.comparison is not None
    assert found.part.comparison.beyond > 20
