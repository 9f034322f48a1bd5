"""One place of a rewrite as lines: what was there, what is there, and a little of what stands around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import msgspec

from cutaway.dump.diff.result import Diff, Part, Place, Rewrite, providers_of
from cutaway.record.layers.rows import Graph, Row

AROUND = 2
"""So many nodes that are read, and so many that read, are shown around a rewrite."""


@dataclass(frozen=True)
class Text:
    """A node as it is written.

    Attributes:
        name: its name in its graph.
        right: what stands right of the `=`, with names.
        type: dtype and shape.
        source: `file:line`, or empty.
        provider: who implements it, or empty.
    """

    name: str
    right: str
    type: str = ""
    source: str = ""
    provider: str = ""

    @property
    def line(self) -> str:
        """`name = right`."""
        return f"{self.name} = {self.right}" if self.right else self.name


@dataclass(frozen=True)
class Line:
    """A line of the picture: a node before, a node after, or both.

    Attributes:
        kind: "around" (a node that stayed), "changed" (one that stayed and differs), "replaced".
        before, after: None where there is none.
    """

    kind: Literal["around", "changed", "replaced"]
    before: Text | None
    after: Text | None


Names = Sequence[Mapping[int, str]]
"""For each part of a diff, what to call nodes of the graph after: id -> name."""


class Pictures:
    """Draws places of rewrites; keeps what it made of a graph.

    Args:
        parts: the diff's.
        names: what to call nodes of the graphs after; None for their own names.
    """

    def __init__(self, parts: Sequence[Part], names: Names | None = None) -> None:
        self._parts = parts
        self._names = names
        self._graphs: dict[tuple[int, int], Graph] = {}

    def lines(self, rewrite: Rewrite, place: Place | None = None, around: int = AROUND) -> list[Line]:
        """The lines of one place.

        Args:
            rewrite: what to draw.
            place: which of its places; None for the first.
            around: how many nodes to show before and after what was rewritten.
        """
        place = place or rewrite.places[0]
        if rewrite.kind in ("changed", "moved"):
            pairs = zip(place.before, place.after, strict=True)
            return [Line("changed", self.text(place, 0, old), self.text(place, 1, new)) for old, new in pairs]
        middle = zip_longest(
            [self.text(place, 0, old) for old in place.before], [self.text(place, 1, new) for new in place.after]
        )
        read = self._read(place)
        return [
            *(Line("around", *self._both(place, id_)) for id_ in read[max(len(read) - around, 0) :]),
            *(Line("replaced", old, new) for old, new in middle),
            *(Line("around", *self._both(place, id_)) for id_ in self._users(place)[:around]),
        ]

    def text(self, place: Place, side: int, id_: int) -> Text:
        """A node of the graph before (side 0) or after (1)."""
        graph = self._graph(place.part, side)
        row = graph.rows[id_]
        names = self._names[place.part] if self._names is not None and side == 1 else {}
        name = names.get(row.id, row.name)
        if row.op == "placeholder":
            path = row.input if row.input != row.name else ""
            return Text(name, f"input {path}".strip(), row.type, row.source, row.provider)
        layer = row.path[-1][0] if row.path else ""
        right = graph.written(row, lambda other: _weight(other, layer) or names.get(other.id, other.name))
        return Text(name, right, row.type if row.op != "output" else "", row.source, row.provider)

    def _both(self, place: Place, id_: int) -> tuple[Text, Text | None]:
        """A node that stayed, by its id before."""
        counterpart = self._parts[place.part].matching.after.get(id_)
        after = None if counterpart is None else self.text(place, 1, counterpart)
        return self.text(place, 0, id_), after

    def _read(self, place: Place) -> list[int]:
        """The nodes that a rewrite reads and that stayed, by their ids before, weights left out."""
        part = self._parts[place.part]
        found: set[int] = set()
        for side, ids, to_before in ((0, place.before, None), (1, place.after, part.matching.before)):
            rows = self._graph(place.part, side).rows
            inside = set(ids)
            for ref in (ref for id_ in ids for ref in rows[id_].refs if ref not in inside):
                if rows[ref].op == "placeholder":
                    continue
                known = ref if to_before is None else to_before.get(ref)
                if known is not None and known in part.matching.after:
                    found.add(known)
        return sorted(found)

    def _users(self, place: Place) -> list[int]:
        """The nodes that read something else now, by their ids before."""
        return sorted({user for user, _, _ in place.uses})

    def _graph(self, part: int, side: int) -> Graph:
        key = (part, side)
        if key not in self._graphs:
            shown = self._parts[part]
            providers = providers_of((shown.before, shown.after)[side])
            self._graphs[key] = Graph(msgspec.to_builtins(shown.tables[side]), shown.layers, providers, None)
        return self._graphs[key]


def _weight(row: Row, layer: str) -> str:
    """A weight as its path below the layer that uses it; empty for anything else."""
    return row.weight.removeprefix(f"{layer}.") if layer else row.weight


def stable_names(diff: Diff) -> Names:
    """Names for the nodes after: what stayed is called as before, what took a value's place as that was."""
    found: list[dict[int, str]] = []
    for part in diff.parts:
        before = {node.id: node.name for node in part.tables[0].nodes}
        found.append({new: before[old] for old, new in part.matching.pairs})
    for place in (place for rewrite in diff.rewrites for place in rewrite.places):
        stayed = diff.parts[place.part].matching
        before = {node.id: node.name for node in diff.parts[place.part].tables[0].nodes}
        for _, old, new in place.uses:
            if old not in stayed.after and new not in stayed.before and before[old] not in found[place.part].values():
                found[place.part].setdefault(new, before[old])
    for part, names in zip(diff.parts, found, strict=True):
        taken = {node.name for node in part.tables[0].nodes}
        for node in part.tables[1].nodes:
            names.setdefault(node.id, f"{node.name}_new" if node.name in taken else node.name)
    return found
