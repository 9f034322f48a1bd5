"""Two graphs in the structured form, side by side.

Both are put into one: what stayed stands once, what is gone before what came in its place. That one graph is nested
and folded as any other, so that layers are shown once when they are the same before and after, and nowhere else. The
graphs inside of both, set side by side in the same way, stand below the nodes that take them.

    before  ─┐                                    ┌─ before │ after
             ├─merge─► one graph ─nest, fold─► rows┤
    after   ─┘                                    └─ before │ after
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any, Literal

import msgspec

from cutaway.dump.diff.result import Part, providers_of
from cutaway.dump.schema import NodeTable
from cutaway.dump.snapshot import Snapshot
from cutaway.record.layers.nest import Fold
from cutaway.record.layers.outline import Entry, outline
from cutaway.record.layers.rows import Graph, Row
from cutaway.web.data import shapes
from cutaway.web.data.graph import written
from cutaway.web.data.inside import Inner, Pair
from cutaway.web.data.words import NAME, bounded, cut, cut_or_none

Kind = Literal["same", "changed", "removed", "added"]
Table = Mapping[str, Any]


@dataclass(frozen=True)
class _Node:
    """A node of the merged graph: its ids before and after, None where it is not."""

    before: int | None
    after: int | None


def beside(pair: Pair) -> list[shapes.DifferenceRow]:
    """The rows of two graphs.

    Returns:
        Rows as of one structured form; `removed` ones stand before the `added` that came in their place, and where
        these are as many they share rows.
    """
    part = pair.part
    snapshots = (part.before, part.after)
    tables = [bounded(_plain(table, each)) for table, each in zip(part.tables, snapshots, strict=True)]
    sides = [Graph(table, {}, providers_of(each), None) for table, each in zip(tables, snapshots, strict=True)]
    nodes = _merged(part, sides)
    merged = Graph(_table(tables, nodes, pair.changed), {}, providers_of(part.after), None)
    return list(_Rows(sides, nodes, pair).of(outline(merged, fold=True)))


def _plain(table: NodeTable, snapshot: Snapshot) -> Table:
    """A graph as plain values; as they were read, unless it is a part of what was, or has other layers."""
    typed, plain = snapshot.dump.table(snapshot.owner)
    return plain if typed is table else msgspec.to_builtins(table)


def _merged(part: Part, sides: Sequence[Graph]) -> list[_Node]:
    """All nodes: in the order after, what is gone behind the node that it stood behind."""
    matching = part.matching
    gone: dict[int | None, list[int]] = {}
    anchor: int | None = None
    for node in part.tables[0].nodes:
        stayed = matching.after.get(node.id)
        if stayed is not None:
            anchor = stayed
        else:
            gone.setdefault(anchor, []).append(node.id)
    found: list[_Node] = []
    new: list[int] = []
    behind: int | None = None

    def close() -> None:
        found.extend(_interleaved(gone.get(behind, []), new, sides))
        new.clear()

    for node in part.tables[1].nodes:
        old = matching.before.get(node.id)
        if old is None:
            new.append(node.id)
            continue
        close()
        found.append(_Node(old, node.id))
        behind = node.id
    close()
    return found


def _interleaved(old: Sequence[int], new: Sequence[int], sides: Sequence[Graph]) -> Iterator[_Node]:
    """What is gone and what is new between two nodes that stayed: layer by layer, what is gone first."""

    def layer(side: int, id_: int) -> object:
        row = sides[side].rows[id_]
        return (row.op in ("placeholder", "output"), row.path)

    left = [(key, list(ids)) for key, ids in groupby(old, lambda id_: layer(0, id_))]
    right = [(key, list(ids)) for key, ids in groupby(new, lambda id_: layer(1, id_))]
    while left or right:
        if left and right and left[0][0] == right[0][0]:
            yield from (_Node(id_, None) for id_ in left.pop(0)[1])
            yield from (_Node(None, id_) for id_ in right.pop(0)[1])
        elif left and not (right and any(key == right[0][0] for key, _ in left)):
            ahead = any(key == left[0][0] for key, _ in right)
            if ahead and right:
                yield from (_Node(None, id_) for id_ in right.pop(0)[1])
            else:
                yield from (_Node(id_, None) for id_ in left.pop(0)[1])
        elif left:
            yield from (_Node(id_, None) for id_ in left.pop(0)[1])
        else:
            yield from (_Node(None, id_) for id_ in right.pop(0)[1])


def _table(tables: Sequence[Table], nodes: Sequence[_Node], changed: Set[int]) -> Table:
    """The merged graph as a node table; a node's id is its place, and its operator says what became of it."""
    before, after = ({node["id"]: node for node in table["nodes"]} for table in tables)
    places: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for place, node in enumerate(nodes):
        if node.before is not None:
            places[0][node.before] = place
        if node.after is not None:
            places[1][node.after] = place
    layers = len(tables[0].get("layers") or ())
    sources = len(tables[0].get("sources") or ())
    merged: list[Table] = []
    for place, node in enumerate(nodes):
        side = 0 if node.after is None else 1
        kept = before[node.before or 0] if node.after is None else after[node.after]
        found: dict[str, Any] = dict(kept)
        found["id"] = place
        found["args"] = [_moved(value, places[side]) for value in kept.get("args") or ()]
        found["kwargs"] = {name: _moved(value, places[side]) for name, value in (kept.get("kwargs") or {}).items()}
        if side == 1 and kept.get("layer") is not None:
            found["layer"] = kept["layer"] + layers
        if side == 1 and kept.get("source") is not None:
            found["source"] = kept["source"] + sources
        if kept["op"] not in ("placeholder", "output", "get_attr"):
            found["target"] = f"{_kind(node, changed)} {kept['target']}"
        merged.append(found)
    return {
        "nodes": merged,
        "layers": [*(tables[0].get("layers") or ()), *(tables[1].get("layers") or ())],
        "sources": [*(tables[0].get("sources") or ()), *(tables[1].get("sources") or ())],
        "symbols": {**(tables[0].get("symbols") or {}), **(tables[1].get("symbols") or {})},
    }


def _kind(node: _Node, changed: Set[int]) -> Kind:
    if node.before is None:
        return "added"
    if node.after is None:
        return "removed"
    return "changed" if node.after in changed else "same"


def _moved(value: Any, places: Mapping[int, int]) -> Any:
    """An argument with the references of the merged graph."""
    if isinstance(value, list):
        return [_moved(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return {"node": places[value["node"]]} if value["node"] in places else None
    return {name: _moved(each, places) for name, each in value.items()}


class _Rows:
    """Makes rows of two sides out of the outline of both."""

    def __init__(self, sides: Sequence[Graph], nodes: Sequence[_Node], pair: Pair) -> None:
        self._sides = sides
        self._nodes = nodes
        self._members = pair.members
        self._changed = pair.changed
        self._inner = Inner(pair, beside)

    def of(self, entries: Sequence[Entry]) -> Iterator[shapes.DifferenceRow]:
        """The rows; what is gone and what came in its place share rows."""
        for _, some in groupby(entries, self._run):
            run = list(some)
            old = [entry for entry in run if self._kind_of(entry) == "removed"]
            new = [entry for entry in run if self._kind_of(entry) == "added"]
            pairs = self._exchanged(old, new) if old and new else ((entry, entry) for entry in run)
            for left, right in pairs:
                yield self._row(right) if left is right and right else self._replaced(left, right)
                yield from self._below(left, right)
        yield from self._inner.left()

    def _below(self, old: Entry | None, new: Entry | None) -> Iterator[shapes.DifferenceRow]:
        """The graphs that the nodes of a row take."""
        entry = new or old
        if entry is None or entry.kind != "node" or not self._inner:
            return
        ids: list[tuple[int | None, int | None]] = []
        for each in (entry,) if old is new else (old, new):
            nodes = [self._nodes[row.id] for row in each.rows] if each is not None else []
            ids += [(node.before, node.after) for node in nodes]
        yield from self._inner.below(ids, entry.depth + 1)

    def _exchanged(self, old: Sequence[Entry], new: Sequence[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
        """What is gone beside what came in its place, rewrite by rewrite."""
        sides: dict[int | None, tuple[list[Entry], list[Entry]]] = {}
        for side, entries in enumerate((old, new)):
            for entry in entries:
                sides.setdefault(self._rewrite_of(entry), ([], []))[side].append(entry)
        for pair in sides.values():
            yield from zip_longest(*pair)

    def _run(self, entry: Entry) -> object:
        """Equal for neighbours that may share rows: what is gone and what is new at one depth."""
        kind = self._kind_of(entry)
        return (entry.depth, entry.mark) if kind in ("removed", "added") else id(entry)

    def _node(self, entry: Entry) -> _Node | None:
        return self._nodes[entry.row.id] if entry.row is not None else None

    def _kind_of(self, entry: Entry) -> str:
        node = self._node(entry)
        return entry.kind if node is None else _kind(node, self._changed)

    def _row(self, entry: Entry) -> shapes.DifferenceRow:
        kind, node = self._kind_of(entry), self._node(entry)
        old = self._side(entry, 0) if kind != "added" else None
        new = self._side(entry, 1) if kind != "removed" else None
        if node is None:
            old, new = (side if side is not None and (side.nodes or not entry.rows) else None for side in (old, new))
        return shapes.DifferenceRow(kind, entry.depth, old, new, self._rewrite_of(entry))  # pyright: ignore[reportArgumentType]

    def _replaced(self, old: Entry | None, new: Entry | None) -> shapes.DifferenceRow:
        if old is None or new is None:
            [entry] = [each for each in (old, new) if each is not None]
            return self._row(entry)
        sides = (self._side(old, 0), self._side(new, 1))
        return shapes.DifferenceRow("replaced", new.depth, *sides, self._rewrite_of(new))

    def _rewrite_of(self, entry: Entry) -> int | None:
        """The rewrite that a node is part of; None for what is no node, and for nodes of none."""
        node = self._node(entry)
        if node is None:
            return None
        found = self._members[1].get(node.after) if node.after is not None else None
        if found is None and node.before is not None:
            found = self._members[0].get(node.before)
        return found

    def _side(self, entry: Entry, side: int) -> shapes.LayerRow:
        """An entry as it is before (0) or after (1)."""
        ids = [self._nodes[row.id] for row in entry.rows]
        nodes = [id_ for node in ids if (id_ := (node.before, node.after)[side]) is not None]
        item = entry.item
        layer = item.shown if isinstance(item, Fold) else item
        row = self._row_of(entry, side)
        return shapes.LayerRow(
            kind=entry.kind,
            depth=entry.depth,
            text=cut(entry.text) if row is None else _text(entry, self._sides[side], row),
            type=cut(entry.type) if row is None else cut(row.type),
            source="" if row is None or row.op == "placeholder" else row.source,
            provider="" if row is None else row.provider,
            mark=entry.mark,
            nodes=nodes,
            fqn=cut_or_none(item.label(item.members) if isinstance(item, Fold) else layer and layer.fqn, NAME),
            cls=None if layer is None else cut(layer.cls, NAME),
            times=len(item.members) if isinstance(item, Fold) else 1,
        )

    def _row_of(self, entry: Entry, side: int) -> Row | None:
        node = self._node(entry)
        if node is None or entry.kind != "node":
            return None
        id_ = (node.before, node.after)[side]
        return self._sides[side].rows[id_] if id_ is not None else None


def _text(entry: Entry, graph: Graph, row: Row) -> str:
    """A node as one side has it, behind the name of the layer where it is marked."""
    if row.op == "placeholder":
        return cut(f"{row.name}: {row.input}" if row.input and row.input != row.name else row.name)
    label = entry.text.partition(": ")[0] + ": " if entry.mark == "!" else ""
    return cut(f"{label}{row.name} = {written(graph, row)}")
