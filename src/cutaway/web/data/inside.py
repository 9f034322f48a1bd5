"""Graphs inside of two graphs that are set side by side: each below the nodes that take it, identical ones once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest

from cutaway.dump.diff.inside import graphs_taken
from cutaway.dump.diff.result import Part
from cutaway.record.layers.outline import inner_title
from cutaway.web.data import shapes
from cutaway.web.data.words import cut

Members = tuple[Mapping[int, int], Mapping[int, int]]
Names = tuple[str | None, str | None]
"""What a graph inside is called before, and after; None where it is not."""


@dataclass(frozen=True)
class Pair:
    """Two graphs, and what is known of how they differ.

    Attributes:
        part: the graphs, and which node is which.
        members: ids before, and ids after -> the rewrite that they are part of.
        changed: ids after of nodes that stayed and differ.
        inside: the same of two graphs inside of them, by their names; one that is not is empty.
    """

    part: Part
    members: Members
    changed: Set[int]
    inside: Callable[[Names], Pair]


class Inner:
    """The rows of graphs inside of two graphs.

    Args:
        pair: the two graphs.
        beside: makes the rows of any two.
    """

    def __init__(self, pair: Pair, beside: Callable[[Pair], list[shapes.DifferenceRow]]) -> None:
        self._pair = pair
        self._beside = beside
        self._tables = pair.part.tables
        self._nodes = [{node.id: node for node in table.nodes} for table in self._tables]
        self._told: set[Names] = set()

    def __bool__(self) -> bool:
        return any(table.graphs for table in self._tables)

    def below(self, ids: Iterable[tuple[int | None, int | None]], depth: int) -> Iterator[shapes.DifferenceRow]:
        """The graphs that nodes take, each where it is taken first.

        Args:
            ids: of the nodes, before and after; of identical layers, what is at this place in each of them.
            depth: how deep they stand.
        """
        names = dict.fromkeys(each for before, after in ids for each in self._taken(before, after))
        again = [each for each in names if each in self._told]
        yield from self._rows([each for each in names if each not in self._told], depth)
        for each in again:
            yield _note([f"graph {name}: as above" if name is not None else None for name in each], depth)

    def left(self) -> Iterator[shapes.DifferenceRow]:
        """The graphs that no node takes."""
        told = [{names[side] for names in self._told} for side in (0, 1)]
        old, new = ([name for name in self._tables[side].graphs if name not in told[side]] for side in (0, 1))
        both = dict.fromkeys([*old, *new])
        yield from self._rows([(name if name in old else None, name if name in new else None) for name in both], 0)

    def _taken(self, before: int | None, after: int | None) -> Iterator[Names]:
        old, new = (self._graphs(side, id_) for side, id_ in enumerate((before, after)))
        if len(old) == len(new) or not old or not new:
            yield from zip_longest(old, new)
        else:
            yield from ((name, None) for name in old)
            yield from ((None, name) for name in new)

    def _graphs(self, side: int, id_: int | None) -> list[str]:
        if id_ is None:
            return []
        return list(graphs_taken(self._nodes[side][id_], self._nodes[side], self._tables[side]))

    def _rows(self, some: Sequence[Names], depth: int) -> Iterator[shapes.DifferenceRow]:
        self._told.update(some)
        forms: dict[object, tuple[list[Names], list[shapes.DifferenceRow]]] = {}
        for names in some:
            rows = self._beside(self._pair.inside(names))
            forms.setdefault((_form(rows), names[0] is None, names[1] is None), ([], rows))[0].append(names)
        for alike, rows in forms.values():
            sides = ([name for name in side if name is not None] for side in zip(*alike, strict=True))
            titles = [inner_title(side) if side else None for side in sides]
            yield _note(titles, depth)
            for row in rows:
                yield _deeper(row, depth + 1)


def _note(titles: Sequence[str | None], depth: int) -> shapes.DifferenceRow:
    """The line above a graph inside."""
    old, new = (
        shapes.LayerRow("note", depth, cut(title), "", "", "", "", [], None, None, 1) if title is not None else None
        for title in titles
    )
    return shapes.DifferenceRow("note", depth, old, new, None)


def _deeper(row: shapes.DifferenceRow, by: int) -> shapes.DifferenceRow:
    """A row of a graph inside among those around it; its ids are those of another graph, and are left out."""
    row.depth += by
    for side in (row.before, row.after):
        if side is not None:
            side.depth += by
            side.nodes = []
    return row


def _form(rows: Sequence[shapes.DifferenceRow]) -> object:
    """Equal for graphs that are equal up to the numbers in names."""
    sides = [(row.kind, row.depth, row.rewrite, side) for row in rows for side in (row.before, row.after)]
    return tuple(
        (kind, depth, rewrite, side and (re.sub(r"(?<=[._])\d+", "#", side.text), side.type))
        for kind, depth, rewrite, side in sides
    )
