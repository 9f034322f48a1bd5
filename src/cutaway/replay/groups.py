"""Values that must be the same though the operators are others: groups of nodes that became groups of nodes.

`linear` becomes `permute`, `mm` and `view`, three nodes that all stem from the one. The value that others read of the
one group is the value that others read of the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cutaway.dump.diff.course import Stems
from cutaway.dump.diff.groups import Groups
from cutaway.dump.schema import Node, NodeTable


def groups(
    before: NodeTable, after: NodeTable, stems: Stems, ignored: Collection[str] = ()
) -> Iterator[tuple[int, int]]:
    """Ids of nodes that hold what a group computes, where each graph has one such node.

    Args:
        before, after: the graphs.
        stems: for each node of the graph after, places of the nodes before that it stems from.
        ignored: names of nodes of the graph after that are in no group, and that read nothing (those of a backward
            pass stem from what they are the derivative of, and read what is computed for them alone).
    """
    first = len(before.nodes)
    joined = Groups(range(first + len(after.nodes)))
    for place, some in enumerate(stems):
        node = after.nodes[place]
        for origin in some if _computes(node) and node.name not in ignored else ():
            if _computes(before.nodes[origin]):
                joined.join(origin, first + place)
    group = {place: number for number, members in enumerate(joined.members()) for place in members}
    ours = _ends(before.nodes, [group[place] for place in range(first)])
    theirs = _ends(after.nodes, [group[first + place] for place in range(len(after.nodes))], ignored)
    for number, ends in theirs.items():
        if len(ends) == len(ours.get(number, ())) == 1:
            yield ours[number][0], ends[0]


def _computes(node: Node) -> bool:
    return node.op.startswith("call_")


def _ends(nodes: Sequence[Node], group: Sequence[int], ignored: Collection[str] = ()) -> dict[int, list[int]]:
    """Group -> ids of its nodes that are read outside of it, by nodes that are not ignored."""
    places = {node.id: place for place, node in enumerate(nodes)}
    found: dict[int, dict[int, None]] = {}
    for reader, node in enumerate(nodes):
        if node.name in ignored:
            continue
        for id_ in _references([*node.args, *node.kwargs.values()]):
            place = places[id_]
            if group[place] != group[reader] and _computes(nodes[place]):
                found.setdefault(group[place], {})[id_] = None
    return {number: list(ids) for number, ids in found.items()}


def _references(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for each in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _references(each)
    elif isinstance(value, dict):
        if "node" in value:
            yield value["node"]
        else:
            for each in value.values():  # pyright: ignore[reportUnknownVariableType]
                yield from _references(each)
