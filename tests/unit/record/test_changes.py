"""What passes do to a graph, watched while they do it: who stands in whose place, also between neighbours."""

from __future__ import annotations

import operator
import random as numbers
from collections.abc import Callable

import pytest
import torch
from graphs import Maker, aten, table_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from cutaway.record.changes import Changes
from cutaway.record.origins import Remembered, find_origins

relu, sin, cos, add, mul = (
    aten.relu.default,
    aten.sin.default,
    aten.cos.default,
    aten.add.Tensor,
    aten.mul.Tensor,
)


def chain(*ops: Callable[..., torch.Tensor]) -> fx.GraphModule:
    maker = Maker()
    value = maker.input("x")
    for op in ops:
        value = maker.call(op, value)
    return maker.done(value)


def named(gm: fx.GraphModule) -> dict[str, fx.Node]:
    return {node.name: node for node in gm.graph.nodes}


class Watched:
    """A graph under watch, and the names that its nodes stem from."""

    def __init__(self, gm: fx.GraphModule) -> None:
        self.gm = gm
        self.before = Remembered.of(gm, table_of(gm))
        self.changes = Changes(gm)
        self.stop = self.changes.listen()

    def origins(self) -> dict[str, set[str]]:
        self.stop()
        names = {index: name for name, index in self.before.names.items()}
        found = find_origins(self.gm, self.before, self.changes)
        return {node.name: {names[index] for index in origin.ids} for node, origin in found.items()}

    def lower(self, old: fx.Node, *ops: Callable[..., torch.Tensor]) -> list[fx.Node]:
        """Put a chain of new nodes in the place of one."""
        made: list[fx.Node] = []
        with self.gm.graph.inserting_before(old):
            value = old.args[0]
            for op in ops:
                value = self.gm.graph.call_function(op, (value,))
                made.append(value)
        old.replace_all_uses_with(made[-1])
        self.gm.graph.erase_node(old)
        return made


def test_neighbours_that_are_lowered_are_kept_apart() -> None:
    watched = Watched(chain(relu, relu, relu))
    one = watched.lower(named(watched.gm)["relu"], sin, cos)
    two = watched.lower(named(watched.gm)["relu_1"], cos, sin)
    found = watched.origins()
    assert [found[node.name] for node in (*one, *two)] == [{"relu"}, {"relu"}, {"relu_1"}, {"relu_1"}]
    assert found["relu_2"] == {"relu_2"}


def test_a_pattern_takes_its_inside_with_it() -> None:
    watched = Watched(chain(relu, sin, cos, relu, sin))
    nodes = named(watched.gm)
    with watched.gm.graph.inserting_before(nodes["cos"]):
        fused = watched.gm.graph.call_function(mul, (nodes["x"], 2))
    nodes["cos"].replace_all_uses_with(fused)
    for name in ("cos", "sin", "relu"):
        watched.gm.graph.erase_node(nodes[name])
    lowered = watched.lower(nodes["relu_1"], sin)
    found = watched.origins()
    assert found[fused.name] == {"relu", "sin", "cos"}
    assert found[lowered[0].name] == {"relu_1"}


def test_a_pattern_with_two_results() -> None:
    maker = Maker()
    x, y = maker.input("x"), maker.input("y")
    total = maker.call(add, x, y)
    gm = maker.done(maker.call(relu, total), maker.call(sin, total))
    watched = Watched(gm)
    nodes = named(gm)
    with gm.graph.inserting_before(nodes["add"]):
        both = gm.graph.call_function(aten.split.Tensor, (nodes["x"], nodes["y"]))
        first, second = (gm.graph.call_function(operator.getitem, (both, i)) for i in range(2))
    nodes["relu"].replace_all_uses_with(first)
    gm.graph.erase_node(nodes["relu"])
    nodes["sin"].replace_all_uses_with(second)
    gm.graph.erase_node(nodes["sin"])
    gm.graph.erase_node(nodes["add"])
    found = watched.origins()
    assert {name: found[name] for name in (both.name, first.name, second.name)} == {
        name: {"add", "relu", "sin"} for name in (both.name, first.name, second.name)
    }


def test_a_new_node_that_is_replaced_in_turn() -> None:
    watched = Watched(chain(relu, sin))
    (made,) = watched.lower(named(watched.gm)["relu"], cos)
    (last,) = watched.lower(named(watched.gm)["sin"], cos)
    with watched.gm.graph.inserting_before(last):
        fused = watched.gm.graph.call_function(mul, (made.args[0], 3))
    last.replace_all_uses_with(fused)
    watched.gm.graph.erase_node(last)
    watched.gm.graph.erase_node(made)
    assert watched.origins()[fused.name] == {"relu", "sin"}


def test_what_is_dropped_is_no_origin() -> None:
    watched = Watched(chain(relu, sin, cos))
    nodes = named(watched.gm)
    (made,) = watched.lower(nodes["cos"], mul)
    nodes["sin"].replace_all_uses_with(nodes["relu"])
    watched.gm.graph.erase_node(nodes["sin"])
    found = watched.origins()
    assert found["relu"] == {"relu"}
    assert found[made.name] == {"cos"}


def test_one_of_two_equals_stands_for_both() -> None:
    maker = Maker()
    x = maker.input("x")
    one, two = maker.call(relu, x), maker.call(relu, x)
    gm = maker.done(maker.call(add, one, two))
    watched = Watched(gm)
    nodes = named(gm)
    nodes["relu_1"].replace_all_uses_with(nodes["relu"])
    gm.graph.erase_node(nodes["relu_1"])
    assert watched.origins()["relu"] == {"relu", "relu_1"}


def test_what_is_put_behind_a_node_stands_for_it() -> None:
    watched = Watched(chain(relu, sin))
    node = named(watched.gm)["relu"]
    with watched.gm.graph.inserting_after(node):
        clone = watched.gm.graph.call_function(aten.clone.default, (node,))
    node.replace_all_uses_with(clone, delete_user_cb=lambda user: user is not clone)
    found = watched.origins()
    assert found[clone.name] == {"relu"}
    assert found["relu"] == {"relu"}


def test_a_write_that_nobody_reads() -> None:
    maker = Maker()
    x, y = maker.input("x"), maker.input("y")
    maker.call(aten.copy_.default, x, y)
    gm = maker.done(maker.call(relu, y))
    watched = Watched(gm)
    nodes = named(gm)
    with gm.graph.inserting_before(nodes["copy_"]):
        new = gm.graph.call_function(aten.sin.out, (y,), {"out": x})
    gm.graph.erase_node(nodes["copy_"])
    assert watched.origins()[new.name] == {"copy_"}


def test_nothing_is_left_behind_and_a_snapshot_begins_anew() -> None:
    watched = Watched(chain(relu, relu))
    hooks = ("_create_node_hooks", "_replace_hooks", "_erase_node_hooks")
    assert [len(getattr(watched.gm, name)) for name in hooks] == [1, 1, 1]
    watched.changes.listen()()  # a pass inside of a pass
    assert [len(getattr(watched.gm, name)) for name in hooks] == [1, 1, 1]
    watched.lower(named(watched.gm)["relu"], sin)
    watched.changes.clear()
    watched.before = Remembered.of(watched.gm, table_of(watched.gm))
    made = watched.lower(named(watched.gm)["relu_1"], sin, cos)
    found = watched.origins()
    assert [found[node.name] for node in made] == [{"relu_1"}, {"relu_1"}]
    assert [getattr(watched.gm, name) for name in hooks] == [[], [], []]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_nodes_of_a_chain_lowered_in_any_order(widths: list[int], random: numbers.Random) -> None:
    """Each node is left as it is (0) or becomes one to three: whatever the order, each new one knows its own."""
    watched = Watched(chain(*(relu for _ in widths)))
    names = [name for name in named(watched.gm) if name.startswith("relu")]
    order = list(range(len(widths)))
    random.shuffle(order)
    expected = {names[i]: {names[i]} for i in order if widths[i] == 0}
    for i in order:
        if widths[i]:
            made = watched.lower(named(watched.gm)[names[i]], *[sin, cos, mul][: widths[i]])
            expected |= {node.name: {names[i]} for node in made}
    found = watched.origins()
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("length", [3000])
def test_rewrites_of_rewrites_need_no_stack(length: int) -> None:
    watched = Watched(chain(relu))
    node = named(watched.gm)["relu"]
    for _ in range(length):
        (node,) = watched.lower(node, sin)
    assert watched.origins()[node.name] == {"relu"}
