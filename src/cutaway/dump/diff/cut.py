"""The part of a whole graph that became one piece of it, as a graph by itself.

A piece compared with the graph that it was cut out of would differ in all the rest of the model. So that rest is
left out: values that come from it are inputs, and the results are those of the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from cutaway.dump.diff.course import Stems
from cutaway.dump.schema import Node, NodeTable


def cut(whole: NodeTable, piece: NodeTable, stems: Stems) -> tuple[NodeTable, list[int]]:
    """The part of a graph that a piece stems from.

    Args:
        whole: the graph that was split, or an earlier one.
        piece: the piece as it was cut out.
        stems: for each node of the piece, places of the nodes of `whole` that it stems from.

    Returns:
        The part, and the place in `whole` of each of its nodes. Nodes keep their ids.
    """
    inside: set[int] = set()
    inputs: dict[int, None] = {}  # in the order in which the piece takes them
    for node, places in zip(piece.nodes, stems, strict=True):
        if node.op == "placeholder":
            inputs.update(dict.fromkeys(sorted(places)))
        elif node.op != "output":
            inside.update(places)
    ids = {node.id: place for place, node in enumerate(whole.nodes)}
    for place in sorted(inside):
        _each_reference(whole.nodes[place], lambda id_: inputs.setdefault(ids[id_]))
    outer = [place for place in inputs if place not in inside]
    places = [*outer, *sorted(inside)]
    nodes = [_as_input(whole.nodes[place]) for place in outer] + [whole.nodes[place] for place in sorted(inside)]
    known = {node.id for node in nodes}
    ends = [place for place, node in enumerate(whole.nodes) if node.op == "output"]
    results = [node for node in piece.nodes if node.op == "output"]
    if len(ends) == len(results) == 1:
        args = _renumbered(results[0].args, _origins(piece, stems, whole), known)
        nodes.append(msgspec.structs.replace(whole.nodes[ends[0]], args=args))
        places.append(ends[0])
    return msgspec.structs.replace(whole, nodes=nodes), places


def _as_input(node: Node) -> Node:
    """A value that is computed elsewhere; a constant stays one."""
    if node.op == "get_attr":
        return node
    return msgspec.structs.replace(node, op="placeholder", args=[], kwargs={}, layer=None, provider=None)


def _each_reference(node: Node, do: Callable[[int], Any]) -> None:
    waiting: list[Any] = [*node.args, *node.kwargs.values()]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if "node" in value:
                do(value["node"])
            else:
                waiting += value.values()


def _origins(piece: NodeTable, stems: Stems, whole: NodeTable) -> dict[int, int]:
    """Ids of the piece -> the id that each stems from, where it is one."""
    return {
        node.id: whole.nodes[min(places)].id
        for node, places in zip(piece.nodes, stems, strict=True)
        if len(places) == 1
    }


def _renumbered(value: Any, ids: dict[int, int], known: Collection[int]) -> Any:
    """An argument with references to the other graph; null where there is no such node."""
    if isinstance(value, list):
        return [_renumbered(each, ids, known) for each in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        found = ids.get(value["node"])
        return {"node": found} if found in known else None
    return {key: _renumbered(each, ids, known) for key, each in value.items()}
