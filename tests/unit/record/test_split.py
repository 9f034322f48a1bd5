"""Where the inputs of pieces come from: what feeds them, in the graph that was split."""

from __future__ import annotations

import operator
from typing import Any

import torch
from graphs import Maker, table_of
from hypothesis import given
from hypothesis import strategies as st
from torch import fx
from torch.fx.passes.split_module import split_module

from cutaway.record.origins import Origin, Remembered, find_origins
from cutaway.record.split import stitching_origins

Steps = list[tuple[bool, int, int, int]]
"""Calls: whether it takes a value apart (else it adds two), two earlier values, how many pieces further on it is."""


@st.composite
def programs(draw: st.DrawFn) -> Steps:
    place = st.integers(0, 40)
    return draw(st.lists(st.tuples(st.booleans(), place, place, st.integers(0, 1)), min_size=1, max_size=14))


class Values(fx.Interpreter):
    """Runs a graph, keeping every value."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm, garbage_collect_values=False)
        self.seen: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.seen[n.name] = super().run_node(n)
        return self.seen[n.name]


class Handed(fx.Interpreter):
    """Runs a stitching graph, keeping what each piece is called with."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm)
        self.seen: dict[str, tuple[Any, ...]] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        self.seen[target] = args
        return super().call_module(target, args, kwargs)


def built(steps: Steps) -> tuple[fx.GraphModule, dict[str, int]]:
    """A graph of a program, and the piece of each of its calls."""
    maker, pieces, piece = Maker(), dict[str, int](), 0
    values = [maker.input("x"), maker.input("l_weight_")]
    for number, (apart, left, right, further) in enumerate(steps):
        piece += further
        a, b = (values[place % len(values)] for place in (left, right))
        made = [maker.call(torch.split, a, 2)] if apart else []
        made.append(
            maker.call(operator.getitem, made[0], 0) if apart else maker.call(torch.add, a, b, alpha=number + 2)
        )
        pieces |= {node.name: piece for node in made}
        values.append(made[-1])
    return maker.done(values[-1], values[len(values) // 2]), pieces


def part(split: fx.GraphModule, name: str) -> fx.GraphModule:
    """A piece of a graph that was split."""
    found = split.get_submodule(name)
    assert isinstance(found, fx.GraphModule)
    return found


def split_up(
    gm: fx.GraphModule, pieces: dict[str, int]
) -> tuple[fx.GraphModule, dict[str, dict[fx.Node, Origin]], dict[fx.Node, Origin]]:
    """The stitching graph, what is known of the nodes of each piece, and of its own."""
    previous = Remembered.of(gm, table_of(gm))
    split = split_module(gm, torch.nn.Module(), lambda node: pieces[node.name])
    names = [str(node.target) for node in split.graph.find_nodes(op="call_module")]
    inside = {name: find_origins(part(split, name), previous) for name in names}
    return split, inside, stitching_origins(split, inside, previous)


@given(programs())
def test_an_input_is_what_another_piece_or_the_model_hands_to_it(steps: Steps) -> None:
    """As running shows: what a piece is called with is the value of the node that its input stems from."""
    gm, pieces = built(steps)
    split, inside, _ = split_up(gm, pieces)
    torch.manual_seed(0)
    inputs = (torch.randn(2, 3), torch.randn(2, 3))
    whole, handed = Values(gm), Handed(split)
    whole.run(*inputs)
    handed.run(*inputs)
    before = list(gm.graph.nodes)
    for name, origins in inside.items():
        taken = part(split, name).graph.find_nodes(op="placeholder")
        assert len(taken) == len(handed.seen[name])
        for node, value in zip(taken, handed.seen[name], strict=True):
            (number,) = origins[node].ids
            assert torch.equal(whole.seen[before[number].name], value)


@given(programs())
def test_calls_and_results_stem_from_what_they_are(steps: Steps) -> None:
    gm, pieces = built(steps)
    split, inside, outside = split_up(gm, pieces)
    place = {node.name: number for number, node in enumerate(gm.graph.nodes)}
    for name, origins in inside.items():
        calls = [node for node in part(split, name).graph.nodes if node.op == "call_function"]
        mine = [place[each] for each, piece in pieces.items() if name == f"submod_{piece}"]
        assert [origins[node].ids for node in calls] == [(number,) for number in mine]
        (call,) = [node for node in split.graph.nodes if node.target == name]
        assert outside[call].ids == tuple(mine)
    for node in split.graph.find_nodes(op="placeholder"):
        assert outside[node].ids == (place[node.name],)


def test_an_input_keeps_its_own_place() -> None:
    """It is in no layer; what it stems from is in one."""
    maker = Maker()
    stack = {"nn_module_stack": {"": ("", torch.nn.Module), "a": ("L['self'].a", torch.nn.ReLU)}}
    a = maker.call(torch.relu, maker.input("x"), meta=stack)
    b = maker.call(torch.relu, a, meta=stack)
    gm = maker.done(b)
    _, inside, _ = split_up(gm, {a.name: 0, b.name: 1})
    found = {(node.op, node.name): origin for node, origin in inside["submod_1"].items()}
    assert found["placeholder", a.name] == Origin((1,))
    assert found["call_function", b.name].layer == ("Module", "a: ReLU")
