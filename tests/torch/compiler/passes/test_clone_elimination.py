"""A clone goes when nobody could tell; the property test looks for programs that can."""

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

from cutaway.compiler.passes.clone_elimination import CloneElimination

aten = torch.ops.aten
own = torch.ops.rewriting


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(steps, results, results)
def test_nobody_can_tell(written: Any, returned: Any, given_away: Any) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    donated = {place for place in given_away if place < 2}
    gm = traced(program(written, returned), *[x.clone() for x in inputs])
    before = copy.deepcopy(gm)
    assume(runs(before, inputs))
    report = run_pass(CloneElimination(), gm, donated)
    event(f"{min(report.counts['removed'], 2)} removed, {min(report.counts['kept'], 2)} kept")
    assert_rewritten_safely(before, gm, inputs, donated)


def lowered(x: Tensor, residual: Tensor) -> Any:
    """What an in-place implementation looks like once it is lowered: copies, writes, the copies as results."""
    out, total = aten.clone(x), aten.clone(residual)
    aten.add_(total, out)
    aten.copy_(out, aten.neg(total))
    return out, total


def test_donated_inputs_are_written_to_and_returned() -> None:
    gm = traced(lowered, numbers(4, 3), numbers(4, 3))
    assert_graph(
        gm,
        """
        %x_1 = input
        %residual_1 = input
        %clone = aten.clone.default(%x_1)
        %clone_1 = aten.clone.default(%residual_1)
        %add_ = aten.add_.Tensor(%clone_1, %clone)
        %neg = aten.neg.default(%add_)
        %copy_ = aten.copy_.default(%clone, %neg)
        return [%copy_, %add_]
        """,
    )
    report = run_pass(CloneElimination(), gm, donated={0, 1})
    assert_graph(
        gm,
        """
        %x_1 = input
        %residual_1 = input
        %add_ = aten.add_.Tensor(%residual_1, %x_1)
        %neg = aten.neg.default(%add_)
        %copy_ = aten.copy_.default(%x_1, %neg)
        return [%copy_, %add_]
        """,
    )
    assert report.counts == {"removed": 2, "kept": 0}


def test_inputs_that_were_not_donated_are_not() -> None:
    gm = traced(lowered, numbers(4, 3), numbers(4, 3))
    report = run_pass(CloneElimination(), gm, donated={1})
    assert report.counts == {"removed": 1, "kept": 1}
    assert report.notes["kept"] == {"clone": "a result would lie in the memory of x_1"}


def layers_in_place(x: Tensor, residual: Tensor) -> Any:
    for _ in range(3):
        x, residual = lowered(aten.neg(x), residual)
    return x, residual


def test_every_layer_works_in_the_memory_of_the_first() -> None:
    gm = traced(layers_in_place, numbers(4, 3), numbers(4, 3))
    before = copy.deepcopy(gm)
    report = run_pass(CloneElimination(), gm)
    assert report.counts == {"removed": 5, "kept": 1}  # of the residual that came in, one copy
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    assert_rewritten_safely(before, gm, inputs)


# -- what keeps a clone ------------------------------------------------------------------------------------


def read_later(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    aten.mul_(copied, 2)
    return aten.sum(copied), aten.sum(made)


def read_later_through_a_view(x: Tensor) -> Any:
    made = aten.neg(x)
    turned = aten.permute(made, [1, 0])
    copied = aten.clone(made)
    aten.mul_(aten.view(copied, [-1]), 2)
    return aten.sum(copied), aten.sum(turned)


def read_by_the_op_that_writes(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    own.sum_into(made, made, out=copied)
    return aten.sum(copied)


def written_in_a_list(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    own.add_to_all_([aten.neg(made), copied], 1.0)
    return aten.sum(copied), aten.sum(made)


def written_by_name(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    own.double_(x=copied)
    return aten.sum(copied), aten.sum(made)


def holds_the_old_value(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    aten.mul_(made, 2)
    return aten.sum(copied), aten.sum(made)


def writes_to_an_input(x: Tensor) -> Any:
    copied = aten.clone(x)
    aten.mul_(copied, 2)
    return aten.sum(copied)


def slice_of_an_input(x: Tensor) -> Any:
    copied = aten.clone(aten.slice(x, 0, 0, 2))
    aten.mul_(copied, 2)
    return aten.sum(copied)


def result_in_an_input(x: Tensor) -> Any:
    return aten.clone(x)


def result_in_a_view_of_an_input(x: Tensor) -> Any:
    return aten.clone(aten.view(x, [-1]))


def two_results(x: Tensor) -> Any:
    made = aten.neg(x)
    return made, aten.clone(made)


def two_results_one_a_view(x: Tensor) -> Any:
    made = aten.neg(x)
    return aten.view(made, [-1]), aten.clone(made)


def two_clones_as_results(x: Tensor) -> Any:
    made = aten.neg(x)
    return aten.clone(made), aten.clone(made), aten.sum(made)


def other_strides(x: Tensor) -> Any:
    return aten.sum(aten.clone(aten.permute(x, [1, 0]), memory_format=torch.contiguous_format))


def counted_from_the_beginning(x: Tensor) -> Any:
    copied = aten.clone(aten.slice(aten.neg(x), 0, 1, 3))
    return aten.sum(aten.as_strided(copied, [2], [1], 0))


KEPT = {
    read_later: "sum_2 uses the original after mul_ wrote to the copy",
    read_later_through_a_view: "sum_2 uses the original after mul_ wrote to the copy",
    read_by_the_op_that_writes: "sum_into uses the original after sum_into wrote to the copy",
    written_in_a_list: "sum_2 uses the original after add_to_all_ wrote to the copy",
    written_by_name: "sum_2 uses the original after double_ wrote to the copy",
    holds_the_old_value: "sum_1 uses the copy after mul_ wrote to the original",
    writes_to_an_input: "mul_ writes to it, and x_1 is not given away",
    slice_of_an_input: "mul_ writes to it, and x_1 is not given away",
    result_in_an_input: "a result would lie in the memory of x_1",
    result_in_a_view_of_an_input: "a result would lie in the memory of x_1",
    two_results: "two results would lie in one memory",
    two_results_one_a_view: "two results would lie in one memory",
    two_clones_as_results: "two results would lie in one memory",
    other_strides: "it lies in another way",
    counted_from_the_beginning: "it begins elsewhere in its memory",
}


@pytest.mark.parametrize("function", KEPT, ids=lambda function: function.__name__)
def test_a_clone_that_is_needed_stays_and_the_report_says_why(function: Callable[..., Any]) -> None:
    gm = traced(function, numbers(4, 3))
    before = copy.deepcopy(gm)
    report = run_pass(CloneElimination(), gm)
    assert list(report.notes["kept"].values()) == [KEPT[function]]
    assert_rewritten_safely(before, gm, [numbers(4, 3)])


# -- what does not -----------------------------------------------------------------------------------------


def only_read(x: Tensor) -> Any:
    copied = aten.clone(x)
    return aten.add(copied, x)


def written_and_the_original_is_done_with(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    aten.mul_(copied, 2)
    return copied


def views_of_the_original_before(x: Tensor) -> Any:
    made = aten.neg(x)
    total = aten.sum(aten.view(made, [-1]))
    copied = aten.clone(made)
    aten.mul_(aten.permute(copied, [1, 0]), 2)
    return copied, total


def slice_of_what_was_made(x: Tensor) -> Any:
    copied = aten.clone(aten.slice(aten.neg(x), 0, 1, 3))
    aten.mul_(copied, 2)
    return aten.neg(copied)


def chain(x: Tensor) -> Any:
    return aten.neg(aten.clone(aten.clone(aten.clone(x))))


GONE = (only_read, written_and_the_original_is_done_with, views_of_the_original_before, slice_of_what_was_made, chain)


@pytest.mark.parametrize("function", GONE, ids=lambda function: function.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_clone_that_nobody_needs_goes(function: Callable[..., Any], dynamic: bool) -> None:
    gm = traced(function, numbers(4, 3), dynamic=dynamic)
    before = copy.deepcopy(gm)
    report = run_pass(CloneElimination(), gm)
    assert report.counts["removed"] >= 1
    assert report.counts["kept"] == 0
    assert not gm.graph.find_nodes(op="call_function", target=aten.clone.default)
    assert_rewritten_safely(before, gm, [numbers(4, 3)])


def test_weights_are_never_written_to() -> None:
    gm = traced(writes_to_an_input, numbers(4, 3))
    (x,) = gm.graph.find_nodes(op="placeholder")
    gm.weight = torch.nn.Parameter(numbers(4, 3))
    with gm.graph.inserting_after(x):
        weight = gm.graph.get_attr("weight")
    x.replace_all_uses_with(weight)
    report = run_pass(CloneElimination(), gm, donated={0})
    assert report.notes["kept"] == {"clone": "mul_ writes to it, and weight is not given away"}


def test_what_an_unknown_higher_order_op_is_given_may_be_written_to() -> None:
    def inner(x: Tensor) -> Tensor:
        return x + 1

    def function(x: Tensor) -> Any:
        made = aten.neg(x)
        copied = aten.clone(made)
        return torch.cond(aten.sum(made) > 0, inner, inner, (copied,)), aten.sum(made)

    gm = traced(function, numbers(4, 3))
    report = run_pass(CloneElimination(), gm)
    assert report.counts["kept"] == 1
