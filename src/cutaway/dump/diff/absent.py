"""Layers in which a rewrite was not found though it was in most of their kind, and why, as far as the graph tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from cutaway.dump.diff.find import block_number, pattern
from cutaway.dump.diff.result import Absent, Part, Place, Rewrite, op_name, plus
from cutaway.dump.schema import Node, NodeTable
from cutaway.record.layers.words import commas, type_text

Here = tuple[Part, Node]


def with_absent(rewrites: Sequence[Rewrite], parts: Sequence[Part]) -> tuple[Rewrite, ...]:
    """The rewrites, each with the layers where it might have been and was not.

    Only where it was found in most layers of the kind: what is done in one layer of many is itself the exception.

    Args:
        rewrites: folded.
        parts: the graphs that they are of.
    """
    layers = _Layers(parts)
    return tuple(replace(each, absent=tuple(_absent(each, rewrites, layers))) for each in rewrites)


def _absent(rewrite: Rewrite, rewrites: Sequence[Rewrite], layers: _Layers) -> Iterator[Absent]:
    names = [place.layers[0] for place in rewrite.places if place.layers]
    kinds = {pattern(name) for name in names}
    if len(kinds) != 1 or len(names) != rewrite.count:
        return
    found = {block_number(name) for name in names}
    alike = layers.like(names[0])
    missing = {number: name for number, name in alike.items() if number not in found}
    if None in found or not 0 < len(missing) < len(found) or found.isdisjoint(alike):
        return
    reasons: dict[str, list[str]] = {}
    for number in sorted(missing):
        reasons.setdefault(_reason(rewrite, number, rewrites, layers), []).append(missing[number])
    for reason, some in reasons.items():
        yield Absent(tuple(some), reason)


def _reason(rewrite: Rewrite, number: int, rewrites: Sequence[Rewrite], layers: _Layers) -> str:
    """Why a rewrite was not done in the block of this number."""
    place = rewrite.places[0]
    shift = number - (block_number(place.layers[0]) or 0)
    here = [node for name in place.layers for node in layers.nodes(_shifted(name, shift))]
    alike = [other for other in rewrites if other is not rewrite and other.kind == rewrite.kind]
    others = [other for other in alike if _is_in(other, place, shift)]
    wanted = Counter(rewrite.before) - Counter(op_name(node.op, node.target) for _, node in here)
    if wanted:
        instead = next((other.before for other in others if other.before), ())
        return f"no {plus(list(wanted))} there{f', but {plus(instead)}' if instead else ''}"
    for wished in _nodes(layers.parts[place.part], place):
        same = [node for node in here if (node[1].op, node[1].target) == (wished[1].op, wished[1].target)]
        different = [text for text in (_difference(wished, node) for node in same) if text]
        if same and len(different) == len(same):
            return different[0]
    if others:
        return f"there: {others[0].text}"
    return "the same operators are there, and stayed as they were" if rewrite.before else "nothing was put in there"


def _is_in(other: Rewrite, place: Place, shift: int) -> bool:
    """Whether another rewrite was done in the layers that correspond to a place."""
    wanted = {_shifted(name, shift) for name in place.layers}
    return any(wanted.intersection(each.layers) for each in other.places)


def _shifted(layer: str, by: int) -> str:
    number = block_number(layer)
    return layer if number is None else layer.replace(str(number), str(number + by), 1)


def _nodes(part: Part, place: Place) -> Iterator[Here]:
    known = {node.id: node for node in part.tables[0].nodes}
    yield from ((part, known[each]) for each in place.before)


def _difference(wished: Here, found: Here) -> str:
    """In what a node that could have been rewritten differs from one that was; empty when in nothing."""
    name = op_name(found[1].op, found[1].target)
    mine, theirs = _type(found[1]), _type(wished[1])
    if mine != theirs:
        return f"{name} there is {mine or 'of an unknown type'}, not {theirs or 'of an unknown type'}"
    mine, theirs = _constants(found[1]), _constants(wished[1])
    if mine != theirs:
        return f"{name} there has the constants {mine or 'none'}, not {theirs or 'none'}"
    counts = [len(_users(part.tables[0], node.id)) for part, node in (found, wished)]
    if counts[0] != counts[1]:
        readers = plus(_users(found[0].tables[0], found[1].id)) or "nobody"
        return f"{name} there is read by {readers}"
    return ""


def _type(node: Node) -> str:
    facts = msgspec.to_builtins(node)
    if node.outputs:
        return "(" + ", ".join(type_text(each, "") for each in facts["outputs"]) + ")"
    return type_text(facts, node.device or "")


def _constants(node: Node) -> str:
    return commas(
        [*_plain(node.args), *(f"{key}={value}" for key, value in sorted(node.kwargs.items()) if _is_plain(value))]
    )


def _plain(values: Sequence[object]) -> Iterator[object]:
    return (value for value in values if _is_plain(value))


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, float, str))


def _users(table: NodeTable, id_: int) -> list[str]:
    """Operators of the nodes that read a node."""
    wanted = {"node": id_}
    return [
        op_name(node.op, node.target) for node in table.nodes if _holds([*node.args, *node.kwargs.values()], wanted)
    ]


def _holds(value: object, wanted: object) -> bool:
    if value == wanted:
        return True
    if isinstance(value, dict):
        return any(_holds(each, wanted) for each in value.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return isinstance(value, list) and any(_holds(each, wanted) for each in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class _Layers:
    """The layers of the graphs before, under the names of the pieces that they stand for."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self._nodes: dict[str, list[Here]] = {}
        self._like: dict[str | None, dict[int, str]] = {}
        for part in parts:
            names = [path[-1].rpartition(": ")[0] if path else "" for path in part.tables[0].layers]
            names = [part.layers.get(name, name) for name in names]
            for node in part.tables[0].nodes:
                if node.layer is not None:
                    self._nodes.setdefault(names[node.layer], []).append((part, node))
        for name in self._nodes:
            number = block_number(name)
            if number is not None:
                self._like.setdefault(pattern(name), {})[number] = name

    def nodes(self, layer: str) -> list[Here]:
        """The nodes before whose innermost layer this is."""
        return self._nodes.get(layer, [])

    def like(self, layer: str) -> dict[int, str]:
        """Number -> fqn of the layers that are called so but for the number."""
        return self._like.get(pattern(layer), {})
