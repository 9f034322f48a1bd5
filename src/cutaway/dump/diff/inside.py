"""What differs in graphs inside of graphs: the branches of a `torch.cond`, the bodies of other higher-order operators.

Which graph is which is told by the nodes that hold them: those that are the same one take them in the same order.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cutaway.dump.diff.find import Found, common_layer, find, pattern
from cutaway.dump.diff.fold import fold
from cutaway.dump.diff.match import pair_by_structure
from cutaway.dump.diff.result import Diff, Inside, Part, op_name
from cutaway.dump.diff.terms import Labels
from cutaway.dump.schema import Node, NodeTable


@dataclass(frozen=True)
class FoundInside:
    """A difference inside of a node, with a key that is equal where it is the same."""

    key: Hashable
    inside: Inside

    def at(self, layers: Mapping[str, str]) -> FoundInside:
        """The same in another pair of graphs, whose layers are called otherwise."""
        names = tuple(layers.get(layer, layer) for layer in self.inside.layers)
        return replace(self, inside=replace(self.inside, layers=names))


def find_inside(part: Part, labels: Labels) -> list[FoundInside]:
    """What differs in the graphs inside of two graphs, each by itself.

    Args:
        part: the two graphs, and which node is which.
        labels: numbers for keys, the same for all parts of a diff.
    """
    old, new = part.tables
    if not old.graphs or not new.graphs:
        return []
    before, after = ({node.id: node for node in table.nodes} for table in part.tables)
    told: set[tuple[str, str]] = set()
    found: list[FoundInside] = []
    for left, right in part.matching.pairs:
        holders = before[left], after[right]
        held = [list(graphs_taken(holders[side], (before, after)[side], part.tables[side])) for side in (0, 1)]
        if len(held[0]) != len(held[1]):
            continue
        for names in zip(*held, strict=True):
            if names not in told:
                told.add(names)
                found += _differing(part, holders, names, labels)
    return found


def fold_inside(found: Sequence[FoundInside]) -> tuple[Inside, ...]:
    """Each difference once, with all the layers where it is."""
    groups: dict[Hashable, list[Inside]] = {}
    for each in found:
        groups.setdefault(each.key, []).append(each.inside)
    return tuple(
        replace(some[0], count=len(some), layers=tuple(dict.fromkeys(layer for each in some for layer in each.layers)))
        for some in groups.values()
    )


def _differing(part: Part, holders: tuple[Node, Node], names: tuple[str, str], labels: Labels) -> Iterator[FoundInside]:
    """What differs in one graph inside; nothing when nothing does."""
    tables = part.tables[0].graphs[names[0]], part.tables[1].graphs[names[1]]
    pairing = pair_by_structure(*tables)
    inner = Part(part.before, part.after, part.piece, part.layers, tables, pairing.result(), recorded=False)
    found: list[Found] = find(pairing, 0, labels, ({}, {}))
    deeper = find_inside(inner, labels)
    if not found and not deeper:
        return
    layer = _layer(part.tables[0], holders[0]) or _layer(part.tables[1], holders[1])
    operator = op_name(holders[1].op, holders[1].target)
    diff = Diff((inner,), fold(found), inside=fold_inside(deeper))
    key = (operator, *names, pattern(layer), tuple(each.key for each in found), tuple(each.key for each in deeper))
    nodes = holders[0].name, holders[1].name
    yield FoundInside(key, Inside(operator, nodes, names, (layer,) if layer is not None else (), diff))


def graphs_taken(node: Node, nodes: Mapping[int, Node], table: NodeTable) -> Iterator[str]:
    """The graphs inside that a node takes, by their names, in order.

    Args:
        node: a call.
        nodes: the nodes of its graph, by id.
        table: that graph.
    """
    if not node.op.startswith("call_"):
        return
    waiting: list[Any] = [node.kwargs, *reversed(node.args)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            number = value.get("node")
            taken = nodes.get(number) if isinstance(number, int) else None
            name = value.get("graph") if taken is None else taken.target if taken.op == "get_attr" else None
            if isinstance(name, str) and name in table.graphs:
                yield name
            elif taken is None:
                waiting += reversed(list(value.values()))


def _layer(table: NodeTable, node: Node) -> str | None:
    """The fqn of a node's innermost layer; None when unknown."""
    if node.layer is None:
        return None
    path = [each.rpartition(": ") for each in table.layers[node.layer]]
    return common_layer([[(fqn, cls) for fqn, _, cls in path]])[0]
