"""Operators that write are called directly, in place where nobody can tell, and Inductor takes what comes out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.passes.random_programs import program, results, steps_with
from compiler.passes.rewriting import (
    RANGE,
    assert_graph,
    assert_rewritten_safely,
    functional,
    numbers,
    run_pass,
    runs,
)
from hypothesis import HealthCheck, assume, event, given, settings
from torch import Tensor, fx

from cutaway.compiler.passes.clone_elimination import CloneElimination
from cutaway.compiler.passes.context import pass_context
from cutaway.compiler.passes.defunctionalization import Defunctionalization
from cutaway.compiler.passes.manager import PassManager

aten = torch.ops.aten
own = torch.ops.rewriting


CUSTOM = ("double", "double_by_name", "add_to_all", "sum_into", "step")


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(steps_with(*CUSTOM, *CUSTOM, *CUSTOM), results, results)
def test_nobody_can_tell(written: Any, returned: Any, given_away: Any) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    donated = {place for place in given_away if place < 2}
    run = program(written, returned)
    try:
        run(*[x.clone() for x in inputs])
    except RuntimeError:
        assume(False)
    gm = functional(lambda *inputs: tuple(run(*inputs)), *inputs)
    before = copy.deepcopy(gm)
    assume(runs(before, inputs))
    run_pass(CloneElimination(), gm, donated)  # or each would have a clone of its own to write to
    report = run_pass(Defunctionalization(), gm, donated)
    event(" ".join(f"{name}:{min(number, 2)}" for name, number in sorted(report.counts.items())))
    assert_rewritten_safely(before, gm, inputs, donated)


def rewritten(
    function: Callable[..., Any], *inputs: Tensor, donated: tuple[int, ...] = (), dynamic: bool = False
) -> tuple[fx.GraphModule, Any]:
    gm = functional(function, *inputs, dynamic=dynamic)
    before = copy.deepcopy(gm)
    report = run_pass(Defunctionalization(), gm, donated)
    assert_rewritten_safely(before, gm, inputs, donated)
    return gm, report


# -- in place ----------------------------------------------------------------------------------------------


def what_was_made(x: Tensor) -> Any:
    made = aten.neg(x)
    own.double_(made)
    return aten.sin(made)


def a_view_of_what_was_made(x: Tensor) -> Any:
    made = aten.neg(x)
    own.double_(made[:, 1:])
    own.double_(made.t())
    return aten.sin(made)


def an_input_that_is_copied_back(x: Tensor) -> Any:
    own.double_(x)
    own.double_(x=x)
    return aten.sin(x)


def a_list(x: Tensor) -> Any:
    first, second = aten.neg(x), aten.sin(x)
    own.add_to_all_([first, second[1:]], 1.0)
    return first, second


def with_a_result(x: Tensor) -> Any:
    made = aten.neg(x)
    return own.step_(made, 2.0), own.step_(made, 3.0), made


def into_a_buffer(x: Tensor) -> Any:
    out = torch.empty_like(x)
    own.sum_into(x, x, out)
    return out


IN_PLACE = {
    what_was_made: 1,
    a_view_of_what_was_made: 2,
    an_input_that_is_copied_back: 2,
    a_list: 2,
    with_a_result: 2,
    into_a_buffer: 1,
}


@pytest.mark.parametrize("function", IN_PLACE, ids=lambda one: one.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_in_place(function: Callable[..., Any], dynamic: bool) -> None:
    gm, report = rewritten(function, numbers(4, 3), dynamic=dynamic)
    assert report.counts["in_place"] == IN_PLACE[function]
    assert report.counts["cloned"] == report.counts["left"] == 0
    assert not any("auto_functionalized" in str(node.target) for node in gm.graph.nodes)
    assert not gm.graph.find_nodes(op="call_function", target=aten.copy_.default)


def test_what_it_looks_like() -> None:
    def function(x: Tensor) -> Any:
        made = aten.neg(x)
        total = own.step_(made, 2.0)
        own.double_(x[:, 1:])
        return aten.add(made, total)

    gm, _ = rewritten(function, numbers(4, 3))
    assert_graph(
        gm,
        """
        %arg0_1 = input
        %neg = aten.neg.default(%arg0_1)
        %step__default = rewriting.step_.default(%neg, 2.0)
        %slice_tensor = aten.slice.Tensor(%arg0_1, 1, 1, 3)
        %double__default = rewriting.double_.default(%slice_tensor)
        %add = aten.add.Tensor(%neg, %step__default)
        return [%add]
        """,
    )


def test_an_input_that_was_donated() -> None:
    def function(x: Tensor) -> Any:
        made = aten.clone(x)
        own.double_(made)
        return aten.sin(made)

    gm = functional(function, numbers(4, 3))
    (clone,) = gm.graph.find_nodes(op="call_function", target=aten.clone.default)
    (x,) = gm.graph.find_nodes(op="placeholder")
    clone.replace_all_uses_with(x)
    gm.graph.erase_node(clone)
    before = copy.deepcopy(gm)
    kept = copy.deepcopy(gm)
    assert run_pass(Defunctionalization(), gm, donated={0}).counts["in_place"] == 1
    assert_rewritten_safely(before, gm, [numbers(4, 3)], donated={0})
    report = run_pass(Defunctionalization(), kept)
    assert report.notes["cloned"] == {"arg0_1": "arg0_1 is not given away"}
    assert_rewritten_safely(before, kept, [numbers(4, 3)])


# -- on a clone --------------------------------------------------------------------------------------------


def old_content_read(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    own.double_(copied)
    return aten.sin(copied), aten.sin(made)


def old_content_read_through_a_view(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    turned = made.t()
    own.double_(copied)
    return aten.sin(copied), aten.sin(turned)


def old_content_returned(x: Tensor) -> Any:
    made = aten.neg(x)
    copied = aten.clone(made)
    own.double_(copied)
    return copied, made


CLONED = {
    old_content_read: "sin_1 uses the old content afterwards",
    old_content_read_through_a_view: "sin_1 uses the old content afterwards",
    old_content_returned: "output uses the old content afterwards",
}


@pytest.mark.parametrize("function", CLONED, ids=lambda one: one.__name__)
def test_on_a_clone_and_the_report_says_why(function: Callable[..., Any]) -> None:
    gm = functional(function, numbers(4, 3))
    for clone in gm.graph.find_nodes(op="call_function", target=aten.clone.default):  # as Inductor would remove it
        clone.replace_all_uses_with(clone.args[0])
        gm.graph.erase_node(clone)
    before = copy.deepcopy(gm)
    report = run_pass(Defunctionalization(), gm)
    assert list(report.notes["cloned"].values()) == [CLONED[function]]
    assert report.counts["in_place"] == 0
    assert_rewritten_safely(before, gm, [numbers(4, 3)])


# -- Inductor takes it -------------------------------------------------------------------------------------


def compiled(function: Callable[..., Any], *inputs: Tensor) -> tuple[Any, list[fx.GraphModule], Any]:
    """Compile with Inductor on the CPU, our pass at the end of its own; the last graphs, and what the pass reported."""
    reports: list[Any] = []
    graphs: list[fx.GraphModule] = []

    def watch(when: str, gm: fx.GraphModule, step: Any) -> None:
        if when == "end":
            reports.append(step.report)
            graphs.append(copy.deepcopy(gm))

    manager = PassManager([Defunctionalization()], watch=watch, debug=True)
    settings = {"post_grad_custom_post_pass": manager, "force_disable_caches": True}
    with torch._inductor.config.patch(settings), pass_context(RANGE), torch.no_grad():
        made = torch.compile(function, fullgraph=True)
        made(*[x.clone() for x in inputs])
    return made, graphs, reports[-1]


def decoder_with_cache(x: Tensor, cache: Tensor) -> Any:
    """Attention that writes into its cache, and an operator that writes into a buffer, as engines have them."""
    out = torch.empty_like(x)
    for layer in range(2):
        x = torch.sin(x) + layer
        own.double_(cache[layer : layer + 1])
        own.sum_into(x, cache[layer], out)
        x = x * out
    return x, out


@pytest.mark.parametrize("function", [*IN_PLACE, decoder_with_cache], ids=lambda one: one.__name__)
def test_inductor_takes_it(function: Callable[..., Any]) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 4, 3, seed=2)][: function.__code__.co_argcount]
    made, _, report = compiled(function, *inputs)
    assert report.counts["calls"] >= 1
    assert report.counts["left"] == 0
    ours, theirs = [x.clone() for x in inputs], [x.clone() for x in inputs]
    with torch.no_grad():
        found, expected = made(*ours), function(*theirs)
    for one, other in zip(
        torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected), strict=True
    ):
        torch.testing.assert_close(one, other)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@torch.library.custom_op("rewriting::strict_sum_into", mutates_args=("out",), tags=[torch.Tag.needs_exact_strides])
def strict_sum_into(x: Tensor, y: Tensor, out: Tensor) -> None:
    out.copy_(x + y)


def test_arguments_are_laid_out_as_they_are_without_a_compiler() -> None:
    """A kernel may take strides for granted: Inductor goes by its note of them, ``eager_input_vals``."""

    def function(x: Tensor) -> Any:
        turned = (x.t().contiguous() + 1).t()
        out = torch.empty_like(x)
        own.strict_sum_into(turned, x, out.view(-1).view(4, 3))
        return out, turned * 2

    made, graphs, report = compiled(function, numbers(4, 3))
    assert report.counts["calls"] == 1
    (call,) = graphs[-1].graph.find_nodes(op="call_function", target=own.strict_sum_into.default)
    assert [value.stride() for value in call.meta["eager_input_vals"][0]] == [(1, 4), (3, 1), (3, 1)]
    with torch.no_grad():
        for one, other in zip(made(numbers(4, 3)), function(numbers(4, 3)), strict=True):
            assert torch.equal(one, other)
            assert one.stride() == other.stride()
