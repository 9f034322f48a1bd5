"""Inputs of two graphs, paired: by the model path of a weight or the name of an argument, else by their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence

from cutaway.dump.schema import Node, NodeTable, Size

_NUMBER = re.compile(r"\d+")
_Key = Callable[[Node], Hashable]


def pair_inputs(before: NodeTable, after: NodeTable) -> list[list[tuple[int, int]]]:
    """Pairs of ids of inputs, and of constants of which only the attribute is known.

    Inputs of the same number and types in the same order may be paired by their place: a graph's inputs are what it
    is called with. Or those are paired that both graphs call the same (a weight's model path says what it is); then, in
    order, weights of the same path but for the layer's number, and other inputs of the same type.

    Returns:
        One way to pair them, or two where these differ.
    """
    old, new = _inputs(before), _inputs(after)
    constants = list(_by_key(_constants(before), _constants(after), _attribute))
    pairs = list(_by_key(old, new, _path))
    for type_ in (_layered, _other, _rank):
        lefts, rights = {left for left, _ in pairs}, {right for _, right in pairs}
        pairs += _by_order(
            [node for node in old if node.id not in lefts], [node for node in new if node.id not in rights], type_
        )
    ways = [sorted(pairs)]
    if [_type(node) for node in old] == [_type(node) for node in new]:
        by_place = sorted((left.id, right.id) for left, right in zip(old, new, strict=True))
        ways = [by_place, *(way for way in ways if way != by_place)]
    return [way + constants for way in ways]


def sizes_of(before: NodeTable, after: NodeTable, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[Size, Size]]:
    """The sizes that stand at the same places of paired inputs."""
    old, new = {node.id: node for node in before.nodes}, {node.id: node for node in after.nodes}
    for left, right in pairs:
        one, other = old[left], new[right]
        if one.value is not None and other.value is not None:
            yield one.value, other.value
        if one.shape is not None and other.shape is not None and len(one.shape) == len(other.shape):
            yield from zip(one.shape, other.shape, strict=True)


def _inputs(table: NodeTable) -> list[Node]:
    return [node for node in table.nodes if node.op == "placeholder"]


def _constants(table: NodeTable) -> list[Node]:
    nodes = [node for node in table.nodes if node.op == "get_attr"]
    return [node for node in nodes if node.constant is not None and node.constant.digest is None]


def _type(node: Node) -> Hashable:
    """dtype and sizes; symbols count as equal."""
    shape = None if node.shape is None else tuple([size if isinstance(size, int) else "?" for size in node.shape])
    return (node.dtype, shape)


def _is_weight(node: Node) -> bool:
    return (node.input or "").startswith("self.")


def _layered(node: Node) -> Hashable:
    """A weight's path without numbers, and its type; nothing for any other input."""
    return (_NUMBER.sub("#", node.input or ""), _type(node)) if _is_weight(node) else None


def _other(node: Node) -> Hashable:
    return None if _is_weight(node) else _type(node)


def _rank(node: Node) -> Hashable:
    shape = None if node.shape is None else len(node.shape)
    return None if _is_weight(node) else (node.dtype, shape)


def _path(node: Node) -> Hashable:
    return (node.input, node.dtype) if node.input else None


def _attribute(node: Node) -> Hashable:
    return node.target


def _by_key(old: Sequence[Node], new: Sequence[Node], key: _Key) -> Iterator[tuple[int, int]]:
    """Pairs of nodes whose key no other node of their graph has."""
    lefts, rights = _unique(old, key), _unique(new, key)
    for found, node in lefts.items():
        if found in rights:
            yield node.id, rights[found].id


def _unique(nodes: Sequence[Node], key: _Key) -> dict[Hashable, Node]:
    found: dict[Hashable, Node] = {}
    several: set[Hashable] = set()
    for node in nodes:
        name = key(node)
        if name is None or name in found:
            several.add(name)
        else:
            found[name] = node
    return {name: node for name, node in found.items() if name not in several}


def _by_order(old: Sequence[Node], new: Sequence[Node], type_: _Key) -> list[tuple[int, int]]:
    """The first of each type with the first of the same type, and so on."""
    rights: dict[Hashable, list[Node]] = {}
    for node in new:
        rights.setdefault(type_(node), []).append(node)
    waiting = {key: iter(nodes) for key, nodes in rights.items() if key is not None}
    pairs = [(node, next(waiting.get(type_(node), iter(())), None)) for node in old]
    return [(node.id, other.id) for node, other in pairs if other is not None]
