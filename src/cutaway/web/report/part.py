"""A part of what a process recorded: what a report holds when only something of it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import Struct

from cutaway.web.data import shapes


@dataclass(frozen=True)
class Part:
    """Selectors, and what they are of.

    Attributes:
        selectors: of graphs, passes and code.
        compilations: names of the compilations that have any of them.
        pieces: (compilation, piece) that have any of them.
    """

    selectors: frozenset[str]
    compilations: frozenset[str]
    pieces: frozenset[tuple[str, str]]

    def has(self, selector: str | None) -> bool:
        return selector in self.selectors

    def of(self, found: Struct) -> Struct:
        """A resource without what is not in the part."""
        if isinstance(found, shapes.Overview):
            return self._overview(found)
        if isinstance(found, shapes.Steps):
            return msgspec.structs.replace(found, steps=[step for step in found.steps if self.has(step.selector)])
        if isinstance(found, shapes.Ways):
            pieces = {
                root: kept
                for root, names in found.pieces.items()
                if (kept := [name for name in names if (found.compilation, name) in self.pieces])
            }
            return msgspec.structs.replace(found, pieces=pieces, snapshots=self._ways(found.snapshots))
        if isinstance(found, shapes.PieceWays):
            return msgspec.structs.replace(found, snapshots=self._ways(found.snapshots))
        return self._search(found) if isinstance(found, shapes.SearchTable) else found

    def _overview(self, found: shapes.Overview) -> shapes.Overview:
        compilations = [
            msgspec.structs.replace(
                each,
                pieces=[piece for piece in each.pieces if (each.name, piece.name) in self.pieces],
                whole=[selector for selector in each.whole if self.has(selector)],
            )
            for each in found.compilations
            if each.name in self.compilations
        ]
        findings = [
            each
            for each in found.findings
            if (each.where is None or self.has(each.where))
            and (each.compilation is None or each.compilation in self.compilations)
        ]
        return msgspec.structs.replace(found, compilations=compilations, findings=findings)

    def _ways(self, found: list[shapes.SnapshotWays]) -> list[shapes.SnapshotWays]:
        return [each for each in found if self.has(each.selector)]

    def _search(self, found: shapes.SearchTable) -> shapes.SearchTable:
        """The table without other graphs, and without strings that only these had."""
        numbers: dict[int, int] = {}
        graphs: list[shapes.SearchGraph] = []
        for number, each in enumerate(found.graphs):
            if selectors := [selector for selector in each.selectors if self.has(selector)]:
                numbers[number] = len(graphs)
                graphs.append(shapes.SearchGraph(each.graph, selectors))
        columns = msgspec.structs.asdict(found.columns)
        rows = [row for row, graph in enumerate(columns["graph"]) if graph in numbers]
        strings: dict[int, int] = {-1: -1}
        kept: dict[str, list[int]] = {}
        for name, column in columns.items():
            values = [column[row] for row in rows]
            if name == "graph":
                values = [numbers[value] for value in values]
            elif name != "node":
                values = [strings.setdefault(value, len(strings) - 1) for value in values]
            kept[name] = values
        texts = [found.strings[number] for number in strings if number >= 0]
        return shapes.SearchTable(texts, graphs, shapes.SearchColumns(**kept))
