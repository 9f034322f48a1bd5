"""A name means an op, however the graph spells it; a wrong one is answered with the nearest."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.graphs_to_split import Builder, cutting
from torch import fx

from cutaway.compiler.split.ops import SplittingOps, resolve, splitting_op
from cutaway.compiler.split.partition import split_graph
from cutaway.errors import SplitError


def cuts(names: list[str], target: Callable[..., Any] | str, *more: Any, on: tuple[int, ...] = (4, 8)) -> bool:
    """Whether a call of ``target`` on a tensor is one of the ops of these names."""
    b = Builder()
    x = b.weight("x", *on)
    return b.call(target, x, *more) in SplittingOps(names)


def test_a_name_is_every_overload_and_with_a_dot_it_is_one() -> None:
    assert resolve(["aten::add", "aten::mul.Tensor", "cutting::scale.default"]) == {
        torch.ops.aten.add,
        torch.ops.aten.mul.Tensor,
        torch.ops.cutting.scale.default,
    }
    assert cuts(["aten::add"], torch.ops.aten.add.Scalar, 1)
    assert cuts(["aten::add.Tensor"], torch.ops.aten.add.Tensor, 1)
    assert not cuts(["aten::add.Tensor"], torch.ops.aten.add.Scalar, 1)
    assert cuts(["cutting::scale.default"], torch.ops.cutting.scale)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cutting::scael", "The nearest that exist are cutting::scale"),
        ("cuttings::scale", "cutting::scale"),
        ("aten::scaled_dot_product_atention", "aten::scaled_dot_product_attention"),
        ("aten.add", "'aten.add' is not the name of an op. The nearest that exist are .*aten::add.*namespace::name"),
        ("aten::add.Tensr", "the op aten::add has no overload 'Tensr'. It has Tensor, Scalar"),
        ("qqqq::zzzzzz", "Nothing of a similar name is registered"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(SplitError, match=says):
        resolve([name])


def test_functions_of_torch_are_the_ops_that_they_call() -> None:
    name = "aten::scaled_dot_product_attention"
    b = Builder()
    q = b.weight("q", 1, 2, 4, 8)
    attention = b.call(torch.nn.functional.scaled_dot_product_attention, q, q, q)
    assert attention in SplittingOps([name])
    assert attention in SplittingOps([f"{name}.default"])
    assert attention not in SplittingOps(["aten::softmax"])
    assert cuts(["aten::softmax"], torch.softmax, -1)
    assert cuts(["aten::relu"], torch.relu)


def test_methods_and_operators_of_tensors_are_ops_too() -> None:
    assert cuts(["aten::softmax"], "softmax", -1)
    assert cuts(["aten::relu_"], "relu_")
    assert not cuts(["aten::relu"], "relu_")
    assert cuts(["aten::add"], operator.add, 2)
    assert cuts(["aten::add_"], operator.iadd, 2)
    b = Builder()
    assert b.call(operator.mul, b.size, 2) not in SplittingOps(["aten::mul"])
    assert b.call(operator.mul, b.tokens("x"), b.size) in SplittingOps(["aten::mul"])


def test_what_cannot_be_told_exactly_is_refused() -> None:
    with pytest.raises(SplitError, match=r"torch.nn.functional.softmax, a function in Python.*torch.ops.aten.softmax"):
        cuts(["aten::softmax"], torch.nn.functional.softmax, -1)
    with pytest.raises(SplitError, match=r"Tensor.split, a function in Python"):
        cuts(["aten::split"], "split", 2)
    with pytest.raises(SplitError, match=r"one overload of aten::add. Node add calls _operator.add.*aten::add"):
        cuts(["aten::add.Tensor"], operator.add, 2)
    assert not cuts(["aten::relu"], torch.nn.functional.softmax, -1)


@pytest.fixture
def library() -> torch.library.Library:
    """Ops of a test's own: a tag goes when they go."""
    return torch.library.Library("cutting_tags", "FRAGMENT")


def _graph(target: Callable[..., Any]) -> fx.GraphModule:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_function(torch.sin, (graph.call_function(target, (x,)),)),))
    return fx.GraphModule({}, graph)


def test_a_tagged_op_cuts_every_graph_unless_no_cut_is_wanted(library: torch.library.Library) -> None:
    for name in ("one", "two", "three"):
        library.define(f"{name}(Tensor x) -> Tensor")
    ops = torch.ops.cutting_tags
    assert splitting_op("cutting_tags::one") == "cutting_tags::one"
    assert splitting_op(ops.two.default) is ops.two.default
    assert len(split_graph(_graph(ops.one.default), ())[1]) == 2
    assert len(split_graph(_graph(ops.two), ())[1]) == 2
    assert len(split_graph(_graph(ops.three.default), ())[1]) == 1
    assert len(split_graph(_graph(ops.one.default), None)[1]) == 1


def test_a_custom_op_is_tagged_where_it_is_defined() -> None:
    @splitting_op
    @torch.library.custom_op("cutting_tags::decorated", mutates_args=())
    def decorated(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    assert torch.equal(decorated(torch.ones(2)), torch.ones(2))
    assert len(split_graph(_graph(torch.ops.cutting_tags.decorated.default), ())[1]) == 2


@pytest.mark.parametrize("thing", ["cutting_tags::not_defined", torch.sin, 3])
def test_only_ops_can_be_tagged(thing: object) -> None:
    with pytest.raises(SplitError):
        splitting_op(thing)


def test_modules_inputs_and_values_are_no_splitting_ops() -> None:
    b = Builder()
    x = b.tokens("x")
    module = b.graph.call_module("inner", (x,))
    ops = SplittingOps(["cutting::scale"])
    assert x not in ops
    assert module not in ops
    assert "cutting::scale" not in ops
    assert b.call(cutting.scale.default, x) in ops
