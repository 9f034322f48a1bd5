"""From node to node of a dump: which nodes stem from which, as recorded, over all the snapshots between them.

Nothing is guessed: where origins were not recorded, they are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.dump.lineage.course import Course
from cutaway.dump.lineage.light import LightTable
from cutaway.dump.lineage.spot import Ids, Spot
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot

_Fork = dict[int, list[tuple[int, int]]]
"""Node -> the nodes that stem from it: which of the snapshots after, and which node there."""
MOST_ROOTS = 10_000_000
"""So many members do the sets of roots of a snapshot have together; a dump with more was not made by a compile."""


class Trail(Course):
    """The ways of nodes through a dump."""

    def __init__(self, dump: Dump) -> None:
        super().__init__(dump)
        self._origins: dict[str, list[Ids] | None] = {}
        self._followed: dict[tuple[str, Ids], list[tuple[int, Ids]]] = {}
        self._roots: dict[tuple[str, str | None], Sequence[Ids]] = {}
        self._became: dict[str, _Fork] = {}
        self._handed: dict[str, Ids] = {}

    def origins(self, snapshot: Snapshot) -> Sequence[Ids] | None:
        """For each node, the ids in the snapshot before that it stems from; empty when unknown.

        None when the snapshot is the first, or one of the two graphs cannot be read.
        """
        if snapshot.selector not in self._origins:
            before = self._before.get(snapshot.selector)
            after_table = self.readable(snapshot)
            before_table = self.readable(before) if before is not None else None
            known = None
            if before is not None and before_table is not None and after_table is not None:
                count = len(before_table.nodes)
                known = [
                    frozenset(number for number in each if 0 <= number < count)
                    for each in self._recorded(before, snapshot, after_table)
                ]
            self._origins[snapshot.selector] = known
        return self._origins[snapshot.selector]

    def _recorded(self, before: Snapshot, after: Snapshot, table: LightTable) -> list[Sequence[int]]:
        if after.origins is not None and len(after.origins) == len(table.nodes):
            return [each or () for each in after.origins]
        if before.graph == after.graph:
            return [(node.id,) for node in table.nodes]
        home = self._before.get(after.owner.selector)
        is_part = after.stage == "piece"  # equal ones are other parts of the same graph
        if after.owner is after or (home is not None and home.graph == before.graph and not is_part):
            return [node.origins for node in table.nodes]
        return [() for _ in table.nodes]

    # -- walking ----------------------------------------------------------------------------------------

    def back(self, spot: Spot, ids: Ids) -> list[tuple[Spot, Ids]]:
        """A spot and those that it comes from, to the first, with what the nodes stem from there.

        The nodes of a spot from which on nothing is known are an empty set.
        """
        found = [(spot, ids)]
        while ids:
            before, origins = self.before(spot), self.origins(spot.snapshot)
            if before is None:
                break
            known = [origins[number] for number in ids] if origins is not None else []
            spot, ids = before, frozenset[int]().union(*known)
            found.append((spot, ids))
        return found

    def roots(self, spot: Spot) -> Sequence[Ids]:
        """For each node of a spot, what it stems from in the first snapshot of its compilation; empty when unknown."""
        if spot.key not in self._roots:
            before, origins = self.before(spot), self.origins(spot.snapshot)
            table = self.readable(spot.snapshot)
            count = len(table.nodes) if table is not None else 0
            if before is None:
                first = self._before.get(spot.snapshot.selector) is None
                self._roots[spot.key] = [frozenset((number,) if first else ()) for number in range(count)]
            else:
                known = origins if origins is not None else [frozenset[int]()] * count
                self._roots[spot.key] = self._united(spot, self.roots(before), known)
        return self._roots[spot.key]

    def _united(self, spot: Spot, earlier: Sequence[Ids], origins: Sequence[Ids]) -> list[Ids]:
        """The roots of what each node stems from; those of one origin are the same set, not a copy of it."""
        found: list[Ids] = []
        room = MOST_ROOTS
        for each in origins:
            if len(each) == 1:
                found.append(earlier[next(iter(each))])
                continue
            room -= sum(len(earlier[origin]) for origin in each)
            if room < 0:
                why = "its nodes stem from more nodes than any compile would make of them"
                self.problems.setdefault(spot.snapshot.selector, why)
            found.append(frozenset[int]().union(*(earlier[origin] for origin in each)) if room >= 0 else frozenset())
        return found

    def ahead(self, spot: Spot, ids: Ids) -> list[tuple[Spot, Ids]]:
        """All that comes after a spot, with what its nodes became; spots where nothing stems from them are left out."""
        found: list[tuple[Spot, Ids]] = []
        open_ends = [(spot, ids)]
        while open_ends:
            here, ids = open_ends.pop()
            if here is not spot:
                found.append((here, ids))
            if here.snapshot.stage != "after_split":
                open_ends += reversed(self.following(here, ids))
        return found

    def following(self, spot: Spot, ids: Ids) -> list[tuple[Spot, Ids]]:
        """The spots just after one where anything stems from its nodes; pieces that only take it as an input do not."""
        spots = self.after(spot)
        owner = spot.snapshot if spot.change is not None or spot.snapshot.stage != "piece" else None
        if owner is None:
            return [(each, became) for each in spots if (became := self._stemming(each.snapshot, ids))]
        known = self._followed.get((owner.selector, ids))
        if known is None:
            known = self._followed[owner.selector, ids] = _united(self._fork(owner), ids)
        return [(spots[place], became) for place, became in known]

    def _stemming(self, snapshot: Snapshot, ids: Ids) -> Ids:
        """The nodes of a snapshot that stem from these of the one before it."""
        origins = self.origins(snapshot) or ()
        return frozenset(number for number, each in enumerate(origins) if not ids.isdisjoint(each))

    def _fork(self, snapshot: Snapshot) -> _Fork:
        """Node -> the nodes that stem from it in the snapshots after this one."""
        if snapshot.selector not in self._became:
            fork: _Fork = {}
            for place, after in enumerate(self._after.get(snapshot.selector, ())):
                handed = self.handed(after)
                for number, origins in enumerate(self.origins(after) or ()):
                    for origin in () if number in handed else origins:
                        fork.setdefault(origin, []).append((place, number))
            self._became[snapshot.selector] = fork
        return self._became[snapshot.selector]

    # -- from piece to piece ----------------------------------------------------------------------------

    def handed(self, piece: Snapshot) -> Ids:
        """The inputs of a piece that another one makes: they stem from a call, and compute nothing."""
        if piece.selector not in self._handed:
            before, table = self._before.get(piece.selector), self.readable(piece)
            origins = self.origins(piece) if piece.stage == "piece" else None
            whole = self.readable(before) if before is not None else None
            found: Ids = frozenset()
            if table is not None and whole is not None and origins is not None:
                inputs = [node.id for node in table.nodes if node.op == "placeholder"]
                found = frozenset(each for each in inputs if any(whole.nodes[made].is_call for made in origins[each]))
            self._handed[piece.selector] = found
        return self._handed[piece.selector]

    def takers(self, spot: Spot, ids: Ids) -> list[tuple[Spot, Ids]]:
        """The pieces just after a whole graph that take any of its nodes as an input, which another piece makes."""
        found: list[tuple[Spot, Ids]] = []
        for after in self.after(spot):
            handed, origins = self.handed(after.snapshot), self.origins(after.snapshot) or ()
            taken = frozenset(number for number in handed if not ids.isdisjoint(origins[number]))
            found += [(after, taken)] if taken else []
        return found


def _united(fork: _Fork, ids: Ids) -> list[tuple[int, Ids]]:
    """Which of the snapshots after have what became of some nodes, and what."""
    found: dict[int, set[int]] = {}
    for number in ids:
        for place, node in fork.get(number, ()):
            found.setdefault(place, set()).add(node)
    return [(place, frozenset(found[place])) for place in sorted(found)]
