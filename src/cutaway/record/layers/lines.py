"""Layers and folds as aligned lines of text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cutaway.record.layers.fold import fold_layers
from cutaway.record.layers.nest import Difference, Fold, Item, Key, Layer, nest
from cutaway.record.layers.rows import Graph, Row
from cutaway.record.layers.words import short_bytes

LEFT_COLUMN = 78
TYPE_COLUMN = 32
TIMES = "\N{MULTIPLICATION SIGN}"

Line = tuple[str, str, str]
"""The left part with its indentation, the type, and where the node comes from."""
Entry = tuple[str, Difference, Layer]
"""The layers that differ by name, how they differ, and the first of them."""


def graph_lines(graph: Graph, fold: bool) -> list[Line]:
    """The lines of a graph: inputs, layers, output, then the graphs inside it.

    Args:
        graph: what to print.
        fold: show identical layers and identical inner graphs once, and weights in one line.
    """
    items = nest(graph.body)
    if fold:
        items = fold_layers(items, graph)
    lines = _input_lines(graph, fold) + _Printer(graph, items).lines
    for names, inner in _inner_graphs(graph, fold):
        same = f"  {TIMES}{len(names)} identical, shown once: {', '.join(names)}" if len(names) > 1 else ""
        lines.append((f"graph {names[0]}{same}", "", ""))
        lines += [(f"  {left}", type_, right) for left, type_, right in graph_lines(inner, fold)]
    return lines


def columns(lines: Sequence[Line]) -> list[str]:
    """Align types and sources; a part that is longer than its column pushes the rest to the right."""
    left_width = _width([len(left) for left, type_, right in lines if type_ or right], LEFT_COLUMN)
    type_width = _width([len(type_) for _, type_, right in lines if right], TYPE_COLUMN)
    return [
        f"{left:<{left_width}}  {type_:<{type_width}}  {right}".rstrip() if type_ or right else left
        for left, type_, right in lines
    ]


def _width(lengths: list[int], most: int) -> int:
    """Wide enough for nine parts in ten: one long line does not spread out all the others."""
    return min(sorted(lengths)[len(lengths) * 9 // 10], most) if lengths else 0


def _inner_graphs(graph: Graph, fold: bool) -> list[tuple[list[str], Graph]]:
    """The graphs inside a graph, with all the names that each form has."""
    groups: dict[Key, tuple[list[str], Graph]] = {}
    for name, inner in graph.graphs.items():
        key: Key = (name,)
        if fold and not inner.graphs:
            key = tuple(
                (row.op, re.sub(r"(?<=[._])\d+", "#", row.text), row.type, tuple(row.refs))
                for row in inner.rows.values()
            )
        groups.setdefault(key, ([], inner))[0].append(name)
    return list(groups.values())


def _input_lines(graph: Graph, fold: bool) -> list[Line]:
    """Each input that is no weight, and the weights in one line (without folding: one line each)."""
    lines: list[Line] = []
    counts: dict[str, int] = {}
    size: int | None = 0
    for row in graph.inputs:
        weight = graph.weight(row)
        if weight is not None:
            counts[weight[0]] = counts.get(weight[0], 0) + 1
            size = None if size is None or weight[1] is None else size + weight[1]
        if weight is None or not fold:
            name = f"{row.name}: {row.input}" if row.input and row.input != row.name else row.name
            lines.append((f"  {name} {row.text}".rstrip(), row.type + _bounds(graph, row), ""))
    if counts:
        total = sum(counts.values())
        dtypes = next(iter(counts)) if len(counts) == 1 else " ".join(f"{d}{TIMES}{n}" for d, n in counts.items())
        bytes_ = "" if size is None else f", {short_bytes(size)}"
        lines.append((f"  weights: {total} tensor{'' if total == 1 else 's'}, {dtypes}{bytes_}", "", ""))
    return [("inputs", "", ""), *lines] if lines else []


def _bounds(graph: Graph, row: Row) -> str:
    """The range of a symbolic size that is an input by itself."""
    symbol = graph.symbols.get(row.type.removeprefix("SymInt ")) if row.type.startswith("SymInt") else None
    if not symbol:
        return ""
    low, high = symbol.get("min"), symbol.get("max")
    return f" in [{'-∞' if low is None else low}, {'∞' if high is None else high}]"


class _Printer:
    """Turns the items of one graph into lines."""

    def __init__(self, graph: Graph, items: Sequence[Item]) -> None:
        self.graph = graph
        self.lines: list[Line] = []
        self._unseen: dict[int, str] = {}
        self._entries: dict[int, list[Entry]] = {}
        self._note_unseen(items)
        self._items(items, "", 0)
        self.lines += [(f"{row.name}: {self._right_hand_side(row)}", "", "") for row in graph.outputs]

    def _note_unseen(self, items: Sequence[Item]) -> None:
        """Remember which nodes will not be printed, and the layer each of them is in."""
        for item in items:
            if isinstance(item, Layer):
                self._note_unseen(item.items)
            elif isinstance(item, Fold):
                for layer in item.members.values():
                    if layer is not item.shown:
                        self._unseen.update(dict.fromkeys(range(layer.start, layer.stop), layer.fqn))
                self._note_unseen(item.shown.items)

    def _items(self, items: Sequence[Item], parent: str, depth: int) -> None:
        for item in items:
            if isinstance(item, Row):
                mark = "" if item.known else "? "
                self._node(f"{mark:>{max(2 * depth, 2)}}{item.name} = {self._right_hand_side(item)}", item)
                self._differences(item.place, depth)
            elif isinstance(item, Layer):
                name = _below(item.fqn, parent)
                again = "  (continued)" if item.continued else ""
                self._text(depth, item.title or f"{name}{': ' if name else ''}{item.cls}{again}")
                self._items(item.items, item.fqn, depth + 1)
            else:
                self._fold(item, parent, depth)

    def _fold(self, fold: Fold, parent: str, depth: int) -> None:
        name, count = _below(fold.label(fold.members), parent), len(fold.members)
        self._text(depth, f"{name}: {fold.shown.cls}  {TIMES}{count} identical, shown once{_differing(fold)}")
        for place, entries in _entries(fold).items():
            self._entries.setdefault(place, []).extend(entries)
        self._differences(fold.shown.start - 1, depth + 1)
        self._items(fold.shown.items, fold.shown.fqn, depth + 1)
        for text in self._leaving(fold):
            self._text(depth + 1, text)

    def _differences(self, place: int, depth: int) -> None:
        for label, difference, layer in self._entries.pop(place, ()):
            indent = f"{'! ':>{max(2 * depth, 2)}}{label}: "
            row = difference.row
            if row is None:
                self.lines.append((indent + "has no such node", "", ""))
            else:
                extra = "also has " if difference.extra else ""
                self._node(f"{indent}{extra}{row.name} = {self._right_hand_side(row, layer)}", row)

    def _text(self, depth: int, text: str) -> None:
        self.lines.append(("  " * depth + text, "", ""))

    def _node(self, left: str, row: Row) -> None:
        provider = f"provider: {row.provider}" if row.provider else ""
        self.lines.append((left, row.type, "    ".join(part for part in (row.source, provider) if part)))

    def _right_hand_side(self, row: Row, inside: Layer | None = None) -> str:
        """The node's right-hand side with names; `inside` is the layer it is in when that is not shown."""
        return self.graph.written(row, lambda other: self._name(other, row, inside))

    def _name(self, row: Row, user: Row, inside: Layer | None) -> str:
        if row.weight:
            fqn = user.path[-1][0] if user.path else ""
            return _below(row.weight, fqn)
        unseen = self._unseen.get(row.place)
        if unseen is None or (inside is not None and inside.start <= row.place < inside.stop):
            return row.name
        return f"{row.name}@{unseen}"

    def _leaving(self, fold: Fold) -> list[str]:
        """Which values of the layers that are not shown are used after the last of them."""
        end = max(layer.stop for layer in fold.members.values())
        shown = self.graph.body[fold.shown.start : fold.shown.stop]
        leaving: dict[int | str, list[tuple[int, str]]] = {}
        for number, layer in fold.members.items():
            if layer is fold.shown:
                continue
            offsets = fold.offsets.get(number)
            for offset, row in enumerate(self.graph.body[layer.start : layer.stop]):
                if row.last_use >= end:
                    counterpart = offset if offsets is None else offsets.get(offset, row.name)
                    leaving.setdefault(counterpart, []).append((number, row.name))
        texts: dict[str, list[str]] = {}
        for counterpart, found in leaving.items():
            name = found[0][1]
            if isinstance(counterpart, int):
                seen = shown[counterpart].name
                name = f"{name} (shown as {seen})" if len(found) == 1 else seen
            texts.setdefault(fold.label([number for number, _ in found]), []).append(name)
        return [f"→ {label}, used below: {', '.join(names)}" for label, names in texts.items()]


def _entries(fold: Fold) -> dict[int, list[Entry]]:
    """A fold's differences by the place of the node to print them below; equal ones together."""
    together: dict[Key, tuple[list[int], Difference]] = {}
    for number, differences in fold.differences.items():
        for difference in differences:
            where = (difference.offset, difference.extra, difference.order, difference.row is None)
            together.setdefault((*where, _plain(difference.key)), ([], difference))[0].append(number)
    places: dict[int, list[Entry]] = {}
    for numbers, difference in together.values():
        entry = (fold.label(numbers), difference, fold.members[numbers[0]])
        places.setdefault(fold.shown.start + difference.offset, []).append(entry)
    return places


def _plain(key: Key) -> Key:
    """A node's key without the ids of what comes from before its layer: they are never equal."""
    if not key:
        return key
    *node, origins = key
    return (*node, tuple([origin[:1] if origin[0] == "before" else origin for origin in origins]))


def _differing(fold: Fold) -> str:
    """` (layers.0 differs in 1 node: marked !)`, or nothing."""
    counts: dict[int, list[int]] = {}
    for number, differences in fold.differences.items():
        counts.setdefault(len(differences), []).append(number)
    texts = [
        f"{fold.label(numbers)} {'differs' if len(numbers) == 1 else 'differ'} "
        f"in {count} node{'' if count == 1 else 's'}"
        for count, numbers in counts.items()
    ]
    return f" ({', '.join(texts)}: marked !)" if texts else ""


def _below(fqn: str, parent: str) -> str:
    """A layer's name as seen from the layer around it."""
    return fqn.removeprefix(f"{parent}.") if parent else fqn
