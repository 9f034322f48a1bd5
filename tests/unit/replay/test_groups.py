"""Groups of nodes that became groups of nodes, and the one value that each hands on."""

from __future__ import annotations

from typing import Any

import msgspec
from table_maker import TableMaker

from cutaway.dump.schema import NodeTable
from cutaway.replay.groups import groups


def typed(table: dict[str, Any]) -> NodeTable:
    return msgspec.convert(table, NodeTable)


def before() -> TableMaker:
    maker = TableMaker({"": "Model"})
    x, weight = maker.input("x", ["s72", 256]), maker.input("self.w.weight", [256, 256])
    linear = maker.call("torch.nn.functional.linear", [x, weight])
    relu = maker.call("torch.relu", [linear])
    maker.output(relu)
    return maker


def after() -> TableMaker:
    maker = TableMaker({"": "Model"})
    x, weight = maker.input("x", ["s72", 256]), maker.input("self.w.weight", [256, 256])
    permute = maker.call("aten.permute.default", [weight])
    mm = maker.call("aten.mm.default", [x, permute])
    relu = maker.call("aten.relu.default", [mm])
    maker.output(relu)
    return maker


def test_a_product_that_was_taken_apart() -> None:
    one, two = typed(before().table()), typed(after().table())
    stems = [frozenset({0}), frozenset({1}), frozenset({2}), frozenset({2}), frozenset({3}), frozenset({4})]
    assert set(groups(one, two, stems)) == {(2, 3), (3, 4)}
    assert set(groups(two, one, [frozenset({0}), frozenset({1}), frozenset({2, 3}), frozenset({4}), frozenset()])) == {
        (3, 2),
        (4, 3),
    }


def test_two_values_are_handed_on() -> None:
    """Which of them is the one that was before cannot be told."""
    maker = before()
    maker.nodes.pop()
    linear = maker.nodes[2]
    maker.output(maker.nodes[3], linear)
    one, two = typed(maker.table()), typed(after().table())
    merged = [frozenset({0}), frozenset({1}), frozenset({2, 3}), frozenset({2, 3}), frozenset({3}), frozenset()]
    assert list(groups(one, two, merged)) == []


def test_what_stems_from_nothing_is_in_no_group() -> None:
    one, two = typed(before().table()), typed(after().table())
    assert list(groups(one, two, [frozenset()] * len(two.nodes))) == []
