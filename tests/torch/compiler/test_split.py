"""A graph is cut as vLLM cuts it, and what is put together again computes the same."""

from __future__ import annotations

import copy
import operator
from typing import Any

import pytest
import torch
from compiler.graphs_to_split import (
    SPLITTING,
    WIDTH,
    Builder,
    assert_same_run,
    called,
    cutting,
    inputs,
    results,
    split,
    value_of,
)
from effort import steps
from torch import fx

from cutaway.compiler.split.partition import split_graph
from cutaway.errors import SplitError


def test_pieces_are_runs_of_nodes_named_in_order() -> None:
    b = Builder()
    x = b.tokens("x")
    gm = b.finish(b.call(torch.relu, b.call(cutting.scale.default, b.call(torch.sin, x))))
    split_gm, items = split(gm)
    assert [(item.submod_name, item.is_splitting_graph) for item in items] == [
        ("piece_00", False),
        ("piece_01", True),
        ("piece_02", False),
    ]
    assert [called(item) for item in items] == [["sin"], ["scale_default"], ["relu"]]
    assert_same_run(gm, split_gm)


def test_consecutive_splitting_ops_share_a_piece_whatever_is_taken_out_of_the_first() -> None:
    b = Builder()
    both = b.call(cutting.pair.default, b.tokens("x"))
    left = b.call(operator.getitem, both, 0)
    right = b.call(operator.getitem, both, 1)
    gm = b.finish(b.call(cutting.scale.default, left), b.call(cutting.scale.default, right))
    split_gm, items = split(gm)
    assert [item.is_splitting_graph for item in items] == [True]
    assert_same_run(gm, split_gm)


def test_getitem_stays_with_its_producer() -> None:
    b = Builder()
    parts = b.call("chunk", b.tokens("x"), 2, -1)
    first = b.call(operator.getitem, parts, 0)
    cut = b.call(cutting.scale.default, first)
    second = b.call(operator.getitem, parts, 1)
    gm = b.finish(b.call(torch.add, cut, second))
    split_gm, items = split(gm)
    assert called(items[0]) == ["chunk", "getitem", "getitem_1"]
    assert inputs(items[2]) == ["s0", "scale_default", "getitem_1"]
    assert_same_run(gm, split_gm)


def test_getitem_stays_with_its_producer_in_a_graph_without_values_too() -> None:
    graph = fx.Graph()
    parts = graph.call_method("chunk", (graph.placeholder("x"), 2, -1))
    cut = graph.call_function(cutting.scale.default, (graph.call_function(operator.getitem, (parts, 0)),))
    graph.output((graph.call_function(torch.add, (cut, graph.call_function(operator.getitem, (parts, 1)))),))
    gm = fx.GraphModule({}, graph)
    split_gm, items = split(gm)
    assert called(items[0]) == ["chunk", "getitem", "getitem_1"]
    x = torch.randn(2, WIDTH)
    torch.testing.assert_close(split_gm(x), gm(x))


def test_an_index_into_a_tensor_stays_where_it_is_because_it_may_copy() -> None:
    b = Builder()
    x = b.tokens("x")
    y = b.call(torch.add, x, 1)
    b.call(cutting.bump.default, y)
    copied = b.call(operator.getitem, y, [0, 1])
    b.call(cutting.bump.default, y)
    gm = b.finish(y, copied)
    split_gm, items = split(gm)
    assert called(items[2]) == ["getitem"]
    assert_same_run(gm, split_gm)


def test_a_piece_that_only_allocates_joins_the_one_before() -> None:
    b = Builder()
    x = b.call(torch.sin, b.tokens("x"))
    first = b.call(torch.empty_like, x)
    b.call(cutting.attend.default, x, first)
    second = b.call("new_empty", x, (b.size, WIDTH))
    b.call(cutting.attend.default, first, second)
    gm = b.finish(second)
    split_gm, items = split(gm)
    assert [called(item) for item in items] == [
        ["sin", "empty_like", "new_empty"],
        ["attend_default", "attend_default_1"],
    ]
    assert_same_run(gm, split_gm)


def test_an_allocation_that_needs_a_later_result_stays() -> None:
    b = Builder()
    x = b.call(cutting.scale.default, b.call(torch.sin, b.tokens("x")))
    out = b.call(torch.empty_like, x)
    b.call(cutting.attend.default, x, out)
    gm = b.finish(out)
    split_gm, items = split(gm)
    assert [called(item) for item in items] == [["sin"], ["scale_default"], ["empty_like"], ["attend_default"]]
    assert_same_run(gm, split_gm)


def test_a_shape_used_in_its_own_piece_stays_as_it_is() -> None:
    b = Builder()
    x = b.tokens("x")
    y = b.call("reshape", b.call(torch.sin, x), b.call("size", x))
    gm = b.finish(b.call(cutting.scale.default, y))
    split_gm, items = split(gm)
    assert "size" in called(items[0])
    assert_same_run(gm, split_gm)


def test_a_shape_that_crosses_a_cut_becomes_numbers_and_the_symbol() -> None:
    b = Builder()
    x = b.call(torch.sin, b.tokens("x"))
    shape = b.call("size", x)
    y = b.call(cutting.scale.default, b.call("view", x, -1))
    gm = b.finish(b.call("view", y, shape))
    split_gm, items = split(gm)
    view = items[2].graph.graph.find_nodes(op="call_method", target="view")[0]
    assert view.args[1] == (items[2].graph.graph.find_nodes(op="placeholder")[0], WIDTH)
    assert [isinstance(value_of(node), torch.SymInt) for node in results(items[0])] == [False]
    assert inputs(items[2]) == ["s0", "scale_default"]
    assert_same_run(gm, split_gm)


def test_a_size_that_is_no_symbol_crosses_as_one_number() -> None:
    b = Builder()
    x = b.tokens("x")
    doubled = b.call(torch.cat, [x, x])
    shape = b.call("size", doubled)
    y = b.call(cutting.scale.default, b.call("view", doubled, -1))
    gm = b.finish(b.call("view", y, shape))
    split_gm, items = split(gm)
    assert [isinstance(value_of(node), torch.SymInt) for node in results(items[0])].count(True) == 1
    assert_same_run(gm, split_gm)


def test_a_method_of_a_shape_asks_the_tensor_again() -> None:
    b = Builder()
    x = b.call(torch.sin, b.tokens("x"))
    shape = b.call("size", x)
    y = b.call(cutting.scale.default, x)
    gm = b.finish(b.call(torch.mul, y, b.call("numel", shape)))
    split_gm, items = split(gm)
    assert called(items[2]) == ["size_1", "numel", "mul"]
    assert_same_run(gm, split_gm)


def test_a_tuple_used_whole_by_another_piece_is_handed_over_in_parts() -> None:
    b = Builder()
    parts = b.call("chunk", b.call(torch.sin, b.tokens("x")), 2, -1)
    b.call(cutting.bump.default, b.call(operator.getitem, parts, 1))
    gm = b.finish(b.call(torch.cat, parts, -1))
    split_gm, items = split(gm)
    assert len(results(items[0])) == 2
    assert_same_run(gm, split_gm)


def test_a_method_of_a_tuple_across_a_cut_is_refused() -> None:
    b = Builder()
    x = b.tokens("x")
    parts = b.call("chunk", x, 2, -1)
    b.call(cutting.bump.default, x)
    gm = b.finish(b.call("__len__", parts))
    with pytest.raises(SplitError, match="calls __len__ of a tuple, and none may cross a cut"):
        split(gm)


def test_an_input_may_be_returned_and_constants_too() -> None:
    b = Builder()
    x = b.tokens("x")
    gm = b.finish(x, b.call(cutting.scale.default, x), 3, None, x)
    split_gm, _ = split(gm)
    assert_same_run(gm, split_gm)


def test_a_piece_that_only_writes_is_kept_and_returns_nothing() -> None:
    b = Builder()
    x = b.tokens("x")
    b.call(cutting.bump.default, x)
    b.call("mul_", x, 5)
    b.call(cutting.bump.default, x)
    gm = b.finish(x)
    split_gm, items = split(gm)
    assert [results(item) for item in items] == [[], [], []]
    assert_same_run(gm, split_gm)


def test_a_value_used_by_several_pieces_is_returned_once() -> None:
    b = Builder()
    x = b.call(torch.sin, b.tokens("x"))
    y = b.call(torch.add, b.call(cutting.scale.default, x), x)
    gm = b.finish(b.call(torch.add, b.call(cutting.scale.default, y), x), x)
    split_gm, items = split(gm)
    assert [node.name for node in results(items[0])] == ["sin"]
    assert_same_run(gm, split_gm)


def test_symbols_stand_before_the_tensors_of_compiled_pieces_alone() -> None:
    b = Builder()
    x, y = b.tokens("x"), b.tokens("y")
    cut = b.call(cutting.scale.default, b.call(torch.matmul, x, b.weight("w")))
    gm = b.finish(b.call(torch.add, y, cut))
    _, items = split(gm)
    assert [inputs(item) for item in items] == [["s0", "x", "w"], ["matmul"], ["s0", "y", "scale_default"]]


def test_of_two_inputs_that_hold_one_symbol_a_piece_takes_the_one_that_it_uses() -> None:
    b = Builder()
    again = b.put("s1", b.symbol)
    x = b.tokens("x")
    gm = b.finish(b.call("view", x, again, -1), b.call(cutting.scale.default, x))
    _, items = split(gm)
    assert inputs(items[0]) == ["s1", "x"]


def test_a_constant_tensor_is_handed_in_by_the_stitching_graph() -> None:
    b = Builder()
    constant = b.hold("offset", torch.arange(float(WIDTH)))
    cut = b.call(cutting.scale.default, b.tokens("x"))
    y = b.graph.call_function(torch.add, (cut, constant))
    y.meta["example_value"] = value_of(cut)
    gm = b.finish(y, constant)
    split_gm, items = split(gm)
    assert inputs(items[1]) == ["s0", "scale_default", "offset"]
    assert isinstance(value_of(items[1].graph.graph.find_nodes(op="placeholder")[2]), type(value_of(cut)))
    assert [node.op for node in split_gm.graph.nodes].count("get_attr") == 1
    assert_same_run(gm, split_gm)


def _branching(x: torch.Tensor) -> torch.Tensor:
    x = torch.ops.cutting.scale(x)
    return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))


def test_the_bodies_of_a_condition_go_along() -> None:
    seen: list[fx.GraphModule] = []

    def keep(gm: fx.GraphModule, _: Any) -> Any:
        seen.append(gm)
        return gm.forward

    x = torch.ones(4, WIDTH)
    torch.compile(_branching, backend=keep, fullgraph=True)(x)
    split_gm, items = split(seen[0])
    assert {name for name, _ in items[1].graph.named_children()} == {"cond_true_0", "cond_false_0"}
    for value in (x, -x):
        torch.testing.assert_close(split_gm(value)[0], _branching(value))


def test_a_submodule_call_goes_along() -> None:
    b = Builder()
    x = b.tokens("x")
    b.root.inner = torch.nn.Linear(WIDTH, WIDTH)
    y = b.graph.call_module("inner", (b.call(cutting.scale.default, x),))
    y.meta["example_value"] = value_of(x)
    gm = b.finish(y)
    split_gm, items = split(gm)
    assert items[1].graph.get_submodule("inner") is b.root.inner
    assert_same_run(gm, split_gm)


def _modes(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = torch.ops.cutting.scale(x @ x.T)
        z = y @ y
    with torch.no_grad():
        w = torch.ops.cutting.scale(z)
        v = w * 2
    return v + x.sum()


def test_grad_mode_and_autocast_last_over_a_cut() -> None:
    seen: list[fx.GraphModule] = []

    def keep(gm: fx.GraphModule, _: Any) -> Any:
        seen.append(gm)
        return gm.forward

    x = torch.randn(4, 4, requires_grad=True)
    torch.compile(_modes, backend=keep, fullgraph=True)(x)
    split_gm, items = split(seen[0], ["cutting::scale"])
    assert [item.is_splitting_graph for item in items] == [False, True, False, True, False]
    (mine,) = split_gm(x)
    expected = _modes(x)
    assert mine.dtype == expected.dtype
    assert mine.requires_grad == expected.requires_grad
    torch.testing.assert_close(mine, expected)
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    for item in items:
        before = (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))
        enters = [node for node in item.graph.graph.nodes if "enter_autocast" in node.name]
        exits = [node for node in item.graph.graph.nodes if "exit_autocast" in node.name]
        assert len(enters) == len(exits)
        assert before == (True, False)


def test_without_splitting_ops_there_is_one_piece_and_without_nodes_none() -> None:
    b = Builder()
    x = b.tokens("x")
    gm = b.finish(b.call(cutting.scale.default, b.call(torch.sin, x)))
    split_gm, items = split(gm, ())
    assert [item.is_splitting_graph for item in items] == [False]
    assert_same_run(gm, split_gm)
    empty = Builder()
    gm = empty.finish(empty.tokens("x"))
    split_gm, items = split(gm)
    assert items == []
    assert_same_run(gm, split_gm)


def test_names_and_metadata_stay() -> None:
    b = Builder()
    x = b.call(torch.sin, b.tokens("x"))
    x.meta["nn_module_stack"] = {"layer": "one"}
    gm = b.finish(b.call(cutting.scale.default, x))
    gm.meta["of the model"] = 1
    split_gm, items = split(gm)
    inner = next(node for node in items[0].graph.graph.nodes if node.name == "sin")
    assert inner.meta == x.meta
    inner.meta["more"] = 1
    assert "more" not in x.meta
    assert split_gm.meta["of the model"] == 1
    assert [node.name for node in split_gm.graph.nodes if node.op == "placeholder"] == ["s0", "x"]


def _layers(number: int) -> fx.GraphModule:
    """Layers of about 70 nodes and two pieces, as a decoder has them."""
    b = Builder()
    x = b.tokens("x")
    weights = [b.weight(f"w_{index}") for index in range(number)]
    for weight in weights:
        y = b.call(torch.matmul, x, weight)
        for _ in range(20):
            y = b.call(torch.add, b.call(torch.mul, b.call(torch.sin, y), 0.5), x)
        parts = b.call("chunk", y, 2, -1)
        y = b.call(torch.cat, (b.call(operator.getitem, parts, 0), b.call(operator.getitem, parts, 1)), -1)
        out = b.call(torch.empty_like, y)
        b.call(cutting.attend.default, y, out)
        x = b.call("view", b.call(torch.add, out, x), b.size, WIDTH)
    return b.finish(x)


def test_above_a_hundred_pieces_names_are_wider() -> None:
    gm = _layers(51)
    _, items = split(gm)
    assert (items[0].submod_name, items[-1].submod_name) == ("piece_000", "piece_102")


def test_a_layer_costs_little() -> None:
    gm = _layers(16)
    split_graph(gm, SPLITTING)  # what is found once for a process
    assert steps(lambda: split_graph(gm, SPLITTING)) / len(gm.graph.nodes) < 800  # 475


def test_pieces_can_be_copied_and_changed() -> None:
    b = Builder()
    x = b.tokens("x")
    gm = b.finish(b.call(torch.relu, b.call(cutting.scale.default, b.call(torch.sin, x))))
    split_gm, items = split(gm)
    twin = copy.deepcopy(items[2].graph)
    node = twin.graph.find_nodes(op="call_function", target=torch.relu)[0]
    node.target = torch.neg
    twin.recompile()
    split_gm.piece_02 = twin
    value = torch.randn(2, WIDTH)
    torch.testing.assert_close(split_gm(2, value)[0], -(value.sin() * 2))
    assert "relu" in items[2].graph.code


def test_inductor_takes_a_piece_whose_sizes_are_made_of_a_symbol_alone() -> None:
    b = Builder()
    x = b.tokens("x")
    y = b.call(cutting.scale.default, b.call(torch.cat, [x, x]))
    gm = b.finish(b.call(torch.matmul, y, b.weight("w")))
    _, items = split(gm)
    fake = [value_of(node) for node in items[2].graph.graph.find_nodes(op="placeholder")]
    compiled = torch._inductor.standalone_compile(items[2].graph, fake, dynamic_shapes="from_graph", options={})
    value = torch.randn(10, WIDTH)
    weight = torch.randn(WIDTH, WIDTH)
    torch.testing.assert_close(compiled(5, value, weight)[0], value @ weight)
