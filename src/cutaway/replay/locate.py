"""Where two runs part: the first node, on the way to a result that differs, whose value does.

A pair of nodes may differ and yet mean nothing (a pass has padded a product, and cut it off again). So one goes from
the results that differ backwards, through what was not compared, and stops at values that are the same: the first node
that differs among those reached is the one from which on the result is another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cutaway.replay.job import Comparison
from cutaway.replay.raw import RawGraph


@dataclass(frozen=True)
class Parting:
    """Where they part.

    Attributes:
        pair: (node of the reference, node of the other); None when no pair of nodes was compared there.
        comparison: of the two.
        before, after: nodes of each graph that were not compared, between the last values that are the same and these.
    """

    pair: tuple[str, str] | None
    comparison: Comparison | None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Locator:
    """Finds where two graphs part.

    Args:
        reference, other: the graphs.
        compared: (node of the reference, node of the other, how they compare).
        ignored: nodes of the other graph that cannot be compared: they depend on random numbers.
        writes: for each graph, node -> nodes that wrote to memory which it reads.
    """

    def __init__(
        self,
        reference: RawGraph,
        other: RawGraph,
        compared: Iterable[tuple[str, str, Comparison]],
        ignored: Collection[str] = (),
        writes: tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]] = ({}, {}),
    ) -> None:
        self.reference = reference
        self.other = other
        self.writes = writes
        self.known: dict[str, tuple[str, Comparison]] = {}
        self.of_reference: dict[str, Comparison] = {}
        self.instead: dict[str, list[tuple[str, Comparison]]] = {}
        for one, two, comparison in compared:
            if comparison.verdict in ("skipped", "unwritten") or two in ignored:
                continue
            self.instead.setdefault(two, []).append((one, comparison))
            if two not in self.known or comparison.fine:
                self.known[two] = one, comparison
            if one not in self.of_reference or comparison.fine:
                self.of_reference[one] = comparison

    def find(self, starts: Sequence[str], fine: Callable[[Comparison], bool]) -> Parting | None:
        """The first parting on the way to these nodes of the other graph; None when there are none.

        Args:
            starts: nodes that hold results that differ.
            fine: whether two values count as the same.
        """
        known = {name: comparison for name, (_, comparison) in self.known.items()}
        reached = _backwards(self.other, starts, known, fine, self.writes[1])
        parted = [name for name in reached if name in known]
        if not parted:
            return Parting(None, None, after=tuple(reached)) if reached else None
        order = {name: place for place, name in enumerate(self.other.lines)}
        first = min(parted, key=lambda name: order[name])
        one, comparison = self.known[first]
        for read in self.other.before(first):  # it is right by itself, but stands in the place of something else
            for left, instead in self.instead.get(read, ()):
                if not fine(instead) and left in self.reference.before(one):
                    return Parting((left, read), instead, before=self._between(0, left, fine))
        return Parting(
            (one, first),
            comparison,
            before=self._between(0, one, fine),
            after=self._between(1, first, fine),
        )

    def _between(self, side: int, name: str, fine: Callable[[Comparison], bool]) -> tuple[str, ...]:
        """What was not compared before a node, up to values that are the same."""
        raw = (self.reference, self.other)[side]
        other = {known: comparison for known, (_, comparison) in self.known.items()}
        known = other if side else self.of_reference
        starts = [*raw.before(name), *self.writes[side].get(name, ())]
        reached = _backwards(raw, starts, known, fine, self.writes[side])
        return tuple(each for each in reached if each != name)


def _backwards(
    raw: RawGraph,
    starts: Iterable[str],
    known: Mapping[str, Comparison],
    fine: Callable[[Comparison], bool],
    writes: Mapping[str, Sequence[str]],
) -> list[str]:
    """What lies on the way to these nodes, up to values that are the same; in the order of the graph."""
    waiting = [name for name in starts if name in raw.lines]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in reached or (name in known and fine(known[name])):
            continue
        reached.add(name)
        waiting += [*raw.before(name), *(each for each in writes.get(name, ()) if each in raw.lines)]
    return [name for name in raw.lines if name in reached]


def descendants(raw: RawGraph, sources: Collection[str], writes: Mapping[str, Sequence[str]]) -> set[str]:
    """Nodes that depend on any of these, and these themselves."""
    found = set(sources)
    for name, line in raw.lines.items():
        if not found.isdisjoint(line.reads) or not found.isdisjoint(writes.get(name, ())):
            found.add(name)
    return found
