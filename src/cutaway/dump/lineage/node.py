"""A node by its place."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple

from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import SelectorError


class NodeAt(NamedTuple):
    """A node of a snapshot."""

    snapshot: Snapshot
    node: Node


def node_at(dump: Dump, place: str) -> NodeAt:
    """The node that `SELECTOR:NODE` names.

    Raises:
        SelectorError: there is no such snapshot, or no such node in it.
        DumpError: the graph is not in the dump.

    >>> node_at(dump, "piece_02/range_8_8/post_grad:fused_norm").node.target
    'vllm.fused_norm.default'
    """
    selector, colon, name = place.rpartition(":")
    if not colon:
        raise SelectorError(f"{place!r} names no node", "a node of a snapshot is written as SELECTOR:NODE")
    found = dump.find(selector)
    if not isinstance(found, Snapshot):
        raise SelectorError(f"{found.selector!r} is code", "it has no nodes", "name a snapshot")
    for node in found.nodes:
        if node.name == name:
            return NodeAt(found, node)
    raise no_such_node(name, [node.name for node in found.nodes], found.selector)


def no_such_node(name: str, names: Sequence[str], where: str) -> SelectorError:
    """The error for a name that no node of a place has, with the nearest ones."""
    near = tuple(get_close_matches(name, names, 3))
    cure = f"did you mean {' or '.join(near)}" if near else f"list its nodes with `cutaway show DUMP {where} --nodes`"
    return SelectorError(f"nothing is called {name!r} in {where}", "", cure, candidates=near)
