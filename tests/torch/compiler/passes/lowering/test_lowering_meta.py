"""A lowered node loses nothing: its layer, its source line and its history are those of the nodes in its place."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from compiler.passes.lowering import ir_ops as ops
from compiler.passes.lowering.alike import lowered, traced_anew
from compiler.passes.lowering.graphs import LAYER, STACK, Called, Input, Program, Result, Shape, Size, Symbol, build
from torch import fx
from torch.fx.traceback import NodeSource, NodeSourceAction

from cutaway.compiler.passes.lowering import ir_targets
from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.record.changes import Changes
from cutaway.record.nodes import TableBuilder
from cutaway.record.origins import Remembered, find_origins

X, W = Shape((Size(0, 0), Size(8))), Shape((Size(8),))
NORMS = Program(
    (Symbol(12),),
    (X, W),
    (
        Called(ops.lowering_norm, (Input(0), Input(1), 1e-5)),
        Called(ops.lowering_norm, (Result(0), Input(1), 1e-5)),
        Called(ops.lowering_gated, (Result(1), 2.0)),
        Called(ops.lowering_two, (Result(2), Result(2))),
    ),
)


@pytest.fixture(params=["cold", "warm", "anew"])
def way(request: pytest.FixtureRequest) -> Any:
    """A graph lowered with a cache that is empty or filled, or without one."""
    cache = ReplacementCache()
    if request.param == "warm":
        lowered(build(NORMS, "first").gm, cache)
    return traced_anew if request.param == "anew" else lambda gm: lowered(gm, cache)


def calls_of(gm: fx.GraphModule) -> list[fx.Node]:
    return [node for node in gm.graph.nodes if node.op == "call_function"]


def test_every_new_node_has_the_metadata_of_the_one_in_whose_place_it_is(way: Any) -> None:
    built = build(NORMS)
    kept = {call.name: dict(call.meta) for call in built.calls}
    before = set(built.gm.graph.nodes)
    for node in [node for node in way(built.gm).graph.nodes if node not in before]:
        (note,) = node.meta["from_node"]
        assert (note.pass_name, note.action) == ("ir_lowering", [NodeSourceAction.REPLACE])
        old = kept[note.name]
        for key in ("nn_module_stack", "stack_trace", "seq_nr", "custom", "original_aten"):
            assert node.meta[key] == old[key], key
        assert (node.meta["nn_module_stack"], node.meta["stack_trace"]) == (LAYER, STACK)


def test_the_history_of_a_node_hangs_on_the_note(way: Any) -> None:
    built = build(NORMS)
    first = built.calls[0]
    first.meta["from_node"] = [NodeSource(built.calls[1], "trace", NodeSourceAction.CREATE)]
    history = first.meta["from_node"]
    node = next(node for node in way(built.gm).graph.nodes if node.op == "call_function")
    assert node.meta["from_node"][0].name == first.name
    assert node.meta["from_node"][0].from_node == history


def test_what_took_a_result_apart_passes_its_metadata_on(way: Any) -> None:
    built = build(NORMS)
    taken = [node for node in built.gm.graph.nodes if node.target is operator.getitem]
    for number, node in enumerate(taken):
        node.meta["custom"] = {"result": number}
    way(built.gm)
    (results,) = built.gm.graph.output_node().args
    assert [result.meta.get("custom") for result in results[-2:]] == [{"result": 0}, {"result": 1}]
    assert not any(node.target is operator.getitem for node in built.gm.graph.nodes)


def test_inputs_keep_their_metadata(way: Any) -> None:
    built = build(NORMS)
    inputs = built.gm.graph.find_nodes(op="placeholder")
    before = [dict(node.meta) for node in inputs]
    way(built.gm)
    assert [node.meta for node in inputs] == before


def test_what_tracing_noted_is_kept_where_the_node_says_nothing(way: Any) -> None:
    built = build(NORMS)
    for call in built.calls:
        del call.meta["original_aten"]
    noted = {str(node.meta.get("original_aten")) for node in calls_of(way(built.gm))}
    assert {"aten.pow.Tensor_Scalar", "aten.mean.dim", "aten.rsqrt.default"} <= noted


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "by what changed"])
def test_the_recorder_finds_where_each_node_comes_from(watched: bool, way: Any) -> None:
    """Neighbours that are lowered one after the other are kept apart, as long as the pass is watched."""
    built = build(NORMS)
    gm, names = built.gm, [call.name for call in built.calls]
    remembered = Remembered.of(gm, TableBuilder().build(gm))
    ids = {index: name for name, index in remembered.names.items()}
    changes = Changes(gm)
    stop = changes.listen() if watched else lambda: None
    before = set(gm.graph.nodes)
    way(gm)
    stop()
    found = find_origins(gm, remembered, changes if watched else None)
    for node in [node for node in gm.graph.nodes if node not in before]:
        origins = {ids[index] for index in found[node].ids} & set(names)
        (note,) = node.meta["from_node"]
        assert origins == {note.name} if watched else note.name in origins


def test_no_node_of_an_op_is_left_and_values_are_in_the_graphs_own_mode(way: Any) -> None:
    built = build(NORMS)
    for node in calls_of(way(built.gm)):
        assert node.target not in ir_targets()
        value = node.meta["val"]
        assert not isinstance(value, torch.Tensor) or value.fake_mode is built.mode
        assert ("tensor_meta" in node.meta) == isinstance(value, torch.Tensor)
