"""Layers and folds as an outline: one entry for each line of the structured form, whatever it is shown in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cutaway.record.layers.fold import fold_layers
from cutaway.record.layers.nest import Difference, Fold, Item, Key, Layer, nest
from cutaway.record.layers.rows import Graph, Row
from cutaway.record.layers.words import short_bytes

DEEPEST = 32
"""Of layers that are nested deeper, no nodes are named: each layer names all that are below it."""
TIMES = "\N{MULTIPLICATION SIGN}"

_Different = tuple[str, Difference, Layer, list[Row]]
"""The layers that differ by name, how they differ, the first of them, and the node of each."""


@dataclass(slots=True)
class Entry:
    """One line.

    Attributes:
        kind: a node, a layer (or several that are shown once), or a remark.
        depth: how deep in the layers it stands.
        text: what is written, without mark and type.
        mark: `?` for a node whose layer is unknown, `!` for how a layer differs from the one that is shown; or empty.
        row: the node; None for what is none.
        item: the layer, or the layers that are shown once.
        type: dtype and shape as text.
        rows: the nodes that it stands for, those of layers that are not shown among them; the shown one's first.
    """

    kind: Literal["node", "layer", "note"]
    depth: int
    text: str
    mark: str = ""
    row: Row | None = None
    item: Layer | Fold | None = None
    type: str = ""
    rows: Sequence[Row] = ()


def outline(graph: Graph, fold: bool) -> list[Entry]:
    """The lines of a graph: inputs, layers, output, then the graphs inside it.

    Args:
        graph: what to outline.
        fold: show identical layers and identical inner graphs once, and weights in one line.
    """
    entries = outline_without_inner(graph, fold)
    for names, inner in inner_graphs(graph, fold):
        entries.append(Entry("note", 0, inner_title(names)))
        for entry in outline(inner, fold):
            entry.depth += 1
            entry.rows = ()  # their ids are those of another graph
            entries.append(entry)
    return entries


def outline_without_inner(graph: Graph, fold: bool) -> list[Entry]:
    """As `outline`, without the graphs inside."""
    items = nest(graph.body)
    if fold:
        items = fold_layers(items, graph)
    return [*_inputs(graph, fold), *body(graph, items)]


def inner_title(names: Sequence[str]) -> str:
    """What stands above a graph inside: the names of all that are as this one."""
    same = f"  {TIMES}{len(names)} identical, shown once: {', '.join(names)}" if len(names) > 1 else ""
    return f"graph {names[0]}{same}"


def body(graph: Graph, items: Sequence[Item]) -> list[Entry]:
    """The lines of what lies between the inputs and the graphs inside.

    Args:
        graph: the graph.
        items: its body, nested and perhaps folded.
    """
    return _Outline(graph, items).entries


def _inputs(graph: Graph, fold: bool) -> list[Entry]:
    """Each input that is no weight, and the weights in one line (without folding: one line each)."""
    entries: list[Entry] = []
    weights: list[Row] = []
    counts: dict[str, int] = {}
    size: int | None = 0
    for row in graph.inputs:
        weight = graph.weight(row)
        if weight is not None:
            weights.append(row)
            counts[weight[0]] = counts.get(weight[0], 0) + 1
            size = None if size is None or weight[1] is None else size + weight[1]
        if weight is None or not fold:
            name = f"{row.name}: {row.input}" if row.input and row.input != row.name else row.name
            type_ = row.type + _bounds(graph, row)
            entries.append(Entry("node", 1, f"{name} {row.text}".rstrip(), row=row, type=type_, rows=(row,)))
    if counts:
        total = sum(counts.values())
        dtypes = next(iter(counts)) if len(counts) == 1 else " ".join(f"{d}{TIMES}{n}" for d, n in counts.items())
        bytes_ = "" if size is None else f", {short_bytes(size)}"
        text = f"weights: {total} tensor{'' if total == 1 else 's'}, {dtypes}{bytes_}"
        entries.append(Entry("note", 1, text, rows=weights if fold else ()))
    return [Entry("note", 0, "inputs"), *entries] if entries else []


def _bounds(graph: Graph, row: Row) -> str:
    """The range of a symbolic size that is an input by itself."""
    symbol = graph.symbols.get(row.type.removeprefix("SymInt ")) if row.type.startswith("SymInt") else None
    if not symbol:
        return ""
    low, high = symbol.get("min"), symbol.get("max")
    return f" in [{'-∞' if low is None else low}, {'∞' if high is None else high}]"


def inner_graphs(graph: Graph, fold: bool) -> list[tuple[list[str], Graph]]:
    """The graphs inside a graph, with all the names that each form has; without folding each by itself."""
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


class _Outline:
    """Turns the items of one graph into entries."""

    def __init__(self, graph: Graph, items: Sequence[Item]) -> None:
        self.graph = graph
        self.entries: list[Entry] = []
        self._unseen: dict[int, str] = {}
        self._different: dict[int, list[_Different]] = {}
        self._folds: list[_Counterparts] = []
        self._note_unseen(items)
        self._items(items, "", 0)
        self.entries += [
            Entry("note", 0, f"{row.name}: {self._right_hand_side(row)}", row=row, rows=(row,)) for row in graph.outputs
        ]

    def _note_unseen(self, items: Sequence[Item]) -> None:
        """Remember which nodes will not be shown, and the layer each of them is in."""
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
                rows = [self.graph.body[place] for place in self._places(item.place)] if self._folds else (item,)
                self._node(depth, "" if item.known else "?", "", item, rows)
                self._differences(item.place, depth)
            elif isinstance(item, Layer):
                name = _below(item.fqn, parent)
                again = "  (continued)" if item.continued else ""
                text = item.title or f"{name}{': ' if name else ''}{item.cls}{again}"
                self._layer(depth, text, item, self._inside(item))
                self._items(item.items, item.fqn, depth + 1)
            else:
                self._fold(item, parent, depth)

    def _fold(self, fold: Fold, parent: str, depth: int) -> None:
        name, count = _below(fold.label(fold.members), parent), len(fold.members)
        text = f"{name}: {fold.shown.cls}  {TIMES}{count} identical, shown once{_differing(fold)}"
        first, *others = [fold.shown, *(layer for layer in fold.members.values() if layer is not fold.shown)]
        rows = [*self._inside(first), *(row for layer in others for row in self._inside(layer))]
        self._layer(depth, text, fold, rows)
        for place, some in _differing_nodes(fold).items():
            self._different.setdefault(place, []).extend(some)
        self._differences(fold.shown.start - 1, depth + 1)
        self._folds.append(_Counterparts(fold))
        self._items(fold.shown.items, fold.shown.fqn, depth + 1)
        self._folds.pop()
        for text in self._leaving(fold):
            self.entries.append(Entry("note", depth + 1, text))

    def _inside(self, layer: Layer) -> list[Row]:
        """The nodes of a layer, and of those that it is shown for."""
        if not self._folds:
            return self.graph.body[layer.start : layer.stop]
        places = (self._places(place) for place in range(layer.start, layer.stop))
        return [self.graph.body[place] for place in sorted({each for some in places for each in some})]

    def _places(self, place: int) -> Iterable[int]:
        """The place of a node that is shown, then those of its counterparts in layers that are not."""
        found = [place]
        for fold in reversed(self._folds):
            found += [other for each in found for other in fold.of(each)]
        return found

    def _differences(self, place: int, depth: int) -> None:
        for label, difference, layer, rows in self._different.pop(place, ()):
            row = difference.row
            if row is None:
                self.entries.append(Entry("note", depth, f"{label}: has no such node", "!"))
            else:
                extra = "also has " if difference.extra else ""
                self._node(depth, "!", f"{label}: {extra}", row, rows, layer)

    def _layer(self, depth: int, text: str, item: Layer | Fold, rows: Sequence[Row]) -> None:
        self.entries.append(Entry("layer", depth, text, item=item, rows=rows if depth < DEEPEST else ()))

    def _node(
        self, depth: int, mark: str, label: str, row: Row, rows: Sequence[Row], inside: Layer | None = None
    ) -> None:
        text = f"{label}{row.name} = {self._right_hand_side(row, inside)}"
        self.entries.append(Entry("node", depth, text, mark, row, type=row.type, rows=rows))

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


class _Counterparts:
    """The nodes of layers that are shown once.

    Args:
        fold: the layers.
    """

    def __init__(self, fold: Fold) -> None:
        self._start = fold.shown.start
        self._members: list[tuple[Layer, dict[int, int] | None]] = []
        for number, layer in fold.members.items():
            if layer is not fold.shown:
                offsets = fold.offsets.get(number)
                shown = None if offsets is None else {there: here for here, there in offsets.items()}
                self._members.append((layer, shown))

    def of(self, place: int) -> Iterator[int]:
        """The counterparts of a node of the layer that is shown."""
        offset = place - self._start
        for layer, offsets in self._members:
            here = offset if offsets is None else offsets.get(offset)
            if here is not None and layer.start + here < layer.stop:
                yield layer.start + here


def _differing_nodes(fold: Fold) -> dict[int, list[_Different]]:
    """A fold's differences by the place of the node to show them below; equal ones together."""
    together: dict[Key, tuple[list[int], Difference, list[Row]]] = {}
    for number, differences in fold.differences.items():
        for difference in differences:
            where = (difference.offset, difference.extra, difference.order, difference.row is None)
            known = together.setdefault((*where, _plain(difference.key)), ([], difference, []))
            known[0].append(number)
            if difference.row is not None:
                known[2].append(difference.row)
    places: dict[int, list[_Different]] = {}
    for numbers, difference, rows in together.values():
        entry = (fold.label(numbers), difference, fold.members[numbers[0]], rows)
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
