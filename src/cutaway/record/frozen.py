"""A graph as it was, by reference, to be compared with what it is later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

from cutaway import torch_internals

Frozen = list[tuple[fx.Node, Any, tuple[Any, ...], dict[str, Any]]]


def freeze(graph: fx.Graph) -> Frozen:
    """The graph by reference: exact, because fx replaces a node's arguments and never changes them."""
    frozen: Frozen = torch_internals.calls(graph)
    for node in graph.find_nodes(op="get_attr"):
        child = getattr(graph.owning_module, str(node.target), None)
        if isinstance(child, fx.GraphModule):
            frozen += freeze(child.graph)
    return frozen


def same(before: Frozen, after: Frozen) -> bool:
    """Whether nothing was changed between two :func:`freeze` of one graph."""
    if len(before) != len(after):
        return False
    for old, new in zip(before, after, strict=True):
        if old[0] is not new[0] or old[1] is not new[1]:
            return False
        if old[2] is not new[2] and not _identical(old[2], new[2]):
            return False
        if old[3] is not new[3] and not _identical(old[3], new[3]):
            return False
    return True


def _identical(old: Any, new: Any) -> bool:
    """Equality of arguments that never compares symbolic sizes (that would add a guard)."""
    if old is new:
        return True
    if isinstance(old, (tuple, list)) and isinstance(new, (tuple, list)):
        return len(old) == len(new) and all(map(_identical, old, new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return old.keys() == new.keys() and all(_identical(old[key], new[key]) for key in old)
    plain = (bool, int, float, str)
    return type(old) is type(new) and isinstance(old, plain) and old == new
