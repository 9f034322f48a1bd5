"""What is to be compiled, and for which ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.interface import Task
from cutaway.compiler.build.interpreter import PiecewiseCompileInterpreter
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.capture.symbols import batch_symbol
from cutaway.compiler.split.partition import split_graph


def captured(function: Any, *inputs: torch.Tensor) -> fx.GraphModule:
    found: list[fx.GraphModule] = []

    def keep(gm: fx.GraphModule, _: list[Any]) -> Any:
        found.append(gm)
        return gm.forward

    for value in inputs:
        torch._dynamo.mark_dynamic(value, 0)
    torch._dynamo.reset()
    torch.compile(function, backend=keep, fullgraph=True)(*inputs)
    return found[0]


def test_a_single_size_whose_piece_has_another_size_is_found_under_its_own_range() -> None:
    gm = captured(lambda x, y: (x * 2, y + 1), torch.randn(4, 3), torch.randn(5, 3))
    compiled: list[Task] = []

    def compile_all(tasks: Sequence[Task]) -> list[Any]:
        compiled.extend(tasks)
        return [(EagerCompiler().compile(task), str(task.range)) for task in tasks]

    ranges = (Range(8, 8, is_single_size=True), Range(1, 16))
    _, items = split_graph(gm, ())
    (backend,) = PiecewiseCompileInterpreter(items, ranges, batch_symbol(gm, [4]), compile_all).run()
    assert [task.range for task in compiled] == [Range(8, 8), Range(1, 16)], "dynamic code, for a range of one"
    assert list(backend.runnables) == list(backend.keys) == list(ranges)
