"""What nobody reads goes; what does something stays."""

from __future__ import annotations

import copy
from typing import Any

import torch
from compiler.passes.random_programs import program, results, steps
from compiler.passes.rewriting import assert_graph, assert_rewritten_safely, numbers, run_pass, runs, traced
from hypothesis import HealthCheck, assume, given, settings
from torch import fx

from cutaway.compiler.passes.dead_code import DeadCodeElimination

aten = torch.ops.aten
own = torch.ops.rewriting

lib = torch.library.Library("rewriting", "FRAGMENT")
lib.define("tell(Tensor x) -> ()")
lib.impl("tell", lambda x: None, "CompositeExplicitAutograd")
torch.library.register_fake("rewriting::tell", lambda x: None, lib=lib)


def unread(gm: fx.GraphModule, target: Any, *args: Any, value: Any = None) -> fx.Node:
    """A call at the end of a graph that nobody reads; AOTAutograd and make_fx would not leave it."""
    with gm.graph.inserting_before(gm.graph.output_node()):
        node = gm.graph.call_function(target, args)
    node.meta["val"] = value
    return node


def graph_with(*calls: Any) -> fx.GraphModule:
    gm = traced(aten.neg.default, numbers(4, 3))
    (x,) = gm.graph.find_nodes(op="placeholder")
    for call in calls:
        unread(gm, call, x, value=x.meta["val"])
    return gm


def test_what_nobody_reads_goes() -> None:
    gm = graph_with(aten.neg.default, aten.clone.default, own.step_.default)
    made = unread(gm, aten.neg.default, gm.graph.output_node().args[0])
    unread(gm, aten.neg.default, made)
    report = run_pass(DeadCodeElimination(), gm)
    assert_graph(
        gm,
        """
        %arg0_1 = input
        %neg = aten.neg.default(%arg0_1)
        %step__default = rewriting.step_.default(%arg0_1)
        return %neg
        """,
    )
    assert report.counts == {"removed": 4}


def test_what_does_something_stays() -> None:
    gm = graph_with(
        aten.mul_.Tensor,
        own.double_.default,
        own.tell.default,
        aten._assert_async.msg,
        aten.sym_constrain_range_for_size.default,
        aten.bernoulli.default,
        torch.ops.higher_order.triton_kernel_wrapper_mutation,
        torch.ops.higher_order.invoke_subgraph,
    )
    number = len(gm.graph.nodes)
    assert run_pass(DeadCodeElimination(), gm).counts == {"removed": 0}
    assert len(gm.graph.nodes) == number


def test_random_numbers_go_where_the_option_says_so() -> None:
    gm = graph_with(aten.bernoulli.default)
    assert run_pass(DeadCodeElimination(keep_random=False), gm).counts == {"removed": 1}


def test_a_functional_call_of_what_writes_goes_with_its_results() -> None:
    gm = graph_with()
    unread(gm, torch.ops.higher_order.auto_functionalized_v2, own.double_.default)
    assert run_pass(DeadCodeElimination(), gm).counts == {"removed": 1}


def test_inputs_stay() -> None:
    gm = traced(lambda x, y: aten.neg(x), numbers(4, 3), numbers(4, 3))
    run_pass(DeadCodeElimination(), gm)
    assert len(gm.graph.find_nodes(op="placeholder")) == 2


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(steps, results)
def test_nobody_can_tell(written: Any, returned: Any) -> None:
    inputs = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
    gm = traced(program(written, returned), *[x.clone() for x in inputs])
    before = copy.deepcopy(gm)
    assume(runs(before, inputs))
    run_pass(DeadCodeElimination(), gm)
    assert_rewritten_safely(before, gm, inputs)
