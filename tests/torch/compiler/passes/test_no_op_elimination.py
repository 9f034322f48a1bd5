"""Nodes that change nothing go, whatever their sizes stand for; nothing else does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.passes.random_programs import program, results, steps
from compiler.passes.rewriting import assert_graph, assert_rewritten_safely, numbers, run_pass, runs, traced
from hypothesis import HealthCheck, assume, event, given, settings
from torch import Tensor

from cutaway.compiler.passes.no_op_elimination import NoOpElimination

aten = torch.ops.aten
to = torch.ops.prims.convert_element_type.default


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(steps, results, results)
def test_nobody_can_tell(written: Any, returned: Any, given_away: Any) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    donated = {place for place in given_away if place < 2}
    gm = traced(program(written, returned), *[x.clone() for x in inputs])
    before = copy.deepcopy(gm)
    assume(runs(before, inputs))
    report = run_pass(NoOpElimination(), gm, donated)
    event(" ".join(f"{name}:{min(number, 2)}" for name, number in sorted(report.counts.items())) or "nothing")
    assert_rewritten_safely(before, gm, inputs, donated)


def everything(x: Tensor) -> Any:
    size = x.shape[0]
    y = aten.view(aten.neg(x), [size, 3])
    y = aten.reshape(aten.neg(y), [-1, 3])
    y = aten.expand(aten.neg(y), [size, 3])
    y = aten.permute(aten.neg(y), [0, 1])
    y = aten.slice(aten.neg(y), 0, 0, 2**63 - 1)
    y = aten.slice_scatter(y, aten.neg(y), 0, 0, 2**63 - 1)
    y = aten._to_copy(aten.neg(y), dtype=torch.float32)
    y = to(aten.neg(y), torch.float32)
    (y,) = aten.split_with_sizes(aten.neg(y), [size], 0)
    return aten.neg(y)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_every_kind(dynamic: bool) -> None:
    gm = traced(everything, numbers(4, 3), dynamic=dynamic)
    before = copy.deepcopy(gm)
    guards = _guards(gm)
    report = run_pass(NoOpElimination(), gm)
    gm.graph.eliminate_dead_code()
    assert {str(node.target) for node in gm.graph.nodes if node.op == "call_function"} == {"aten.neg.default"}
    assert report.counts == {"views": 6, "copies": 3}
    assert _guards(gm) == guards
    assert_rewritten_safely(before, gm, [numbers(4, 3)])
    if dynamic:
        assert_rewritten_safely(before, gm, [numbers(7, 3)])


def _guards(gm: Any) -> int:
    (x,) = gm.graph.find_nodes(op="placeholder")
    size = x.meta["val"].shape[0]
    return len(size.node.shape_env.guards) if isinstance(size, torch.SymInt) else 0


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_there_and_back(dynamic: bool) -> None:
    def function(x: Tensor) -> Any:
        made = aten.neg(x)
        heads = aten.view(made, [-1, 3, 2])
        back = aten.view(heads, [-1, 6])
        turned = aten.permute(aten.permute(back, [1, 0]), [1, 0])
        return aten.neg(turned), aten.neg(heads)

    gm = traced(function, numbers(4, 6), dynamic=dynamic)
    before = copy.deepcopy(gm)
    run_pass(NoOpElimination(), gm)
    gm.graph.eliminate_dead_code()
    assert [str(node.target) for node in gm.graph.nodes if "neg" not in str(node.target)][-2:] == [
        "aten.view.default",
        "output",
    ]
    assert_rewritten_safely(before, gm, [numbers(4, 6)])


def test_a_reshape_of_a_reshape_reshapes_the_tensor() -> None:
    gm = traced(lambda x: aten.neg(aten.view(aten.view(aten.neg(x), [2, 12]), [3, 8])), numbers(4, 6))
    report = run_pass(NoOpElimination(), gm)
    assert_graph(
        gm,
        """
        %x_1 = input
        %neg = aten.neg.default(%x_1)
        %view = aten.view.default(%neg, [2, 12])
        %view_1 = aten.view.default(%neg, [3, 8])
        %neg_1 = aten.neg.default(%view_1)
        return %neg_1
        """,
    )
    assert report.counts == {"reshapes": 1}


# -- what stays --------------------------------------------------------------------------------------------


def other_strides(x: Tensor) -> Any:
    return aten.neg(aten.permute(x, [1, 0]))


def half(x: Tensor) -> Any:
    return aten.neg(aten.slice(x, 0, 0, 2)), aten.neg(aten.slice(x, 0, 2, 4))


def other_half_of_the_same_size(x: Tensor) -> Any:
    first = aten.slice(aten.neg(x), 0, 0, 2)
    return aten.sum(aten.as_strided(first, [2, 4], [4, 1], 8))


def clone(x: Tensor) -> Any:
    return aten.sum(aten.clone(x))


def another_dtype(x: Tensor) -> Any:
    return aten.sum(to(x, torch.float64)), aten.sum(aten._to_copy(x, dtype=torch.int32))


def conversion_as_a_result(x: Tensor) -> Any:
    return aten._to_copy(x, dtype=torch.float32)


def conversion_that_is_written_to(x: Tensor) -> Any:
    made = aten.neg(x)
    converted = to(made, torch.float32)
    aten.mul_(converted, 2)
    return aten.sum(converted), aten.sum(made)


def view_of_an_input_as_a_result(x: Tensor) -> Any:
    return aten.view(x, [4, 4])


def two_views_as_results(x: Tensor) -> Any:
    made = aten.neg(x)
    return aten.view(made, [4, 4]), aten.alias(made), made


def scatter_into_a_part(x: Tensor) -> Any:
    return aten.slice_scatter(aten.neg(x), aten.slice(x, 0, 0, 2), 0, 0, 2)


def scatter_that_turns(x: Tensor) -> Any:
    return aten.sum(aten.slice_scatter(aten.neg(x), aten.permute(x, [1, 0]), 0, 0, 4), [0])


def scatter_that_converts(x: Tensor) -> Any:
    return aten.sum(aten.slice_scatter(aten.neg(x), to(x, torch.float64), 0, 0, 4))


STAY = (
    other_strides, half, other_half_of_the_same_size, clone, another_dtype, conversion_as_a_result,
    conversion_that_is_written_to, view_of_an_input_as_a_result, two_views_as_results, scatter_into_a_part,
    scatter_that_turns, scatter_that_converts,
)  # fmt: skip


@pytest.mark.parametrize("function", STAY, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_what_changes_something_stays(function: Callable[..., Any], dynamic: bool) -> None:
    gm = traced(function, numbers(4, 4), dynamic=dynamic)
    before = copy.deepcopy(gm)
    number = len(gm.graph.nodes)
    report = run_pass(NoOpElimination(), gm)
    assert report.counts.total() == 0
    assert len(gm.graph.nodes) == number
    assert_rewritten_safely(before, gm, [numbers(4, 4)])


def test_the_same_bits_as_another_dtype_stay() -> None:
    gm = traced(lambda x: aten.sum(aten.view(x, torch.int32)), numbers(4, 4))
    run_pass(NoOpElimination(), gm)
    assert gm.graph.find_nodes(op="call_function", target=aten.view.dtype)
