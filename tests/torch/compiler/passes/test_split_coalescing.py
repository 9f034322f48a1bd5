"""Equal splits become one, however they were asked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from compiler.passes.random_programs import program, results, steps
from compiler.passes.rewriting import assert_graph, assert_rewritten_safely, numbers, run_pass, runs, traced
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor

from cutaway.compiler.passes.split_coalescing import SplitCoalescing

aten = torch.ops.aten


def three_forms(x: Tensor) -> Any:
    q, k, _ = aten.split_with_sizes(x, [2, 2, 2], -1)
    k_again, v = aten.split(x, 2, 1)[1:]
    q_again = aten.split_with_sizes(x, [2, 2, 2], 1)[0]
    return aten.neg(q), aten.neg(k), aten.neg(v), aten.neg(k_again), aten.neg(q_again)


def test_one_split_and_each_part_once() -> None:
    gm = traced(three_forms, numbers(4, 6))
    before = copy.deepcopy(gm)
    report = run_pass(SplitCoalescing(), gm)
    assert report.counts == {"splits": 2, "parts": 6}  # of three splits in three parts each
    assert_rewritten_safely(before, gm, [numbers(4, 6)])
    gm.graph.eliminate_dead_code()
    assert_graph(
        gm,
        """
        %x_1 = input
        %split_with_sizes = aten.split_with_sizes.default(%x_1, [2, 2, 2], -1)
        %getitem = operator.getitem(%split_with_sizes, 0)
        %getitem_1 = operator.getitem(%split_with_sizes, 1)
        %getitem_2 = operator.getitem(%split_with_sizes, 2)
        %neg = aten.neg.default(%getitem)
        %neg_1 = aten.neg.default(%getitem_1)
        %neg_2 = aten.neg.default(%getitem_2)
        %neg_3 = aten.neg.default(%getitem_1)
        %neg_4 = aten.neg.default(%getitem)
        return [%neg, %neg_1, %neg_2, %neg_3, %neg_4]
        """,
    )


def other_dimension(x: Tensor) -> Any:
    return aten.neg(aten.split(x, 2, 0)[0]), aten.neg(aten.split(x, 2, 1)[0])


def other_sizes(x: Tensor) -> Any:
    return aten.neg(aten.split_with_sizes(x, [1, 3])[0]), aten.neg(aten.split_with_sizes(x, [3, 1])[0])


def other_tensor(x: Tensor) -> Any:
    return aten.neg(aten.split(aten.neg(x), 2)[0]), aten.neg(aten.split(aten.neg(x), 2)[0])


@pytest.mark.parametrize("function", [other_dimension, other_sizes, other_tensor], ids=lambda one: one.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_different_splits_stay(function: Any, dynamic: bool) -> None:
    gm = traced(function, numbers(4, 4), dynamic=dynamic)
    assert run_pass(SplitCoalescing(), gm).counts["splits"] == 0


def test_symbolic_sizes_that_are_always_equal() -> None:
    def function(x: Tensor) -> Any:
        rows = x.shape[0]
        first = aten.split_with_sizes(x, [rows // 2, rows - rows // 2])
        second = aten.split_with_sizes(x, [rows // 2, rows - rows // 2])
        third = aten.split_with_sizes(x, [rows - rows // 2, rows // 2])  # equal at 4 rows, which is no reason
        return aten.neg(first[0]), aten.neg(second[1]), aten.neg(third[0])

    gm = traced(function, numbers(4, 3), dynamic=True)
    assert run_pass(SplitCoalescing(), gm).counts["splits"] == 1


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(steps, results)
def test_nobody_can_tell(written: Any, returned: Any) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    gm = traced(program([("halves", 0, 0), ("halves", 2, 0), *written, ("halves", 1, 0)], returned), *inputs)
    before = copy.deepcopy(gm)
    assume(runs(before, inputs))
    run_pass(SplitCoalescing(), gm)
    assert_rewritten_safely(before, gm, inputs)
