"""From snapshot to snapshot of a dump: which comes after which, and which nodes stem from which, as recorded.

    captured ─ before_split ─┬─ after_split
                             ├─ piece_00 ─┬─ range_8_8: aot_forward … post_grad
                             │            └─ range_1_16: …
                             └─ piece_02 …

A piece that repeats another may have been compiled with it: then the other one's ranges are walked under this piece's
layers. Nothing is guessed: where origins were not recorded, they are unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cutaway.dump.compilation import Compilation
from cutaway.dump.lineage.light import LightNode, LightTable, read_light
from cutaway.dump.lineage.order import in_order
from cutaway.dump.query.view import View, compiled_together
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import DumpError

Ids = frozenset[int]
_Fork = dict[int, list[tuple[int, int]]]
"""Node -> the nodes that stem from it: which of the snapshots after, and which node there."""
MOST_ROOTS = 10_000_000
"""So many members do the sets of roots of a snapshot have together; a dump with more was not made by a compile."""


@dataclass(frozen=True, eq=False)
class Spot:
    """A snapshot, seen under the layers of a piece.

    Attributes:
        snapshot: the graph.
        piece: whose layers are meant: the snapshot's piece, or one that was compiled with it.
        change: layers of the snapshot's piece -> those that are meant; None when they are its own.
    """

    snapshot: Snapshot
    piece: str | None
    change: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells it from others."""
        return (self.snapshot.selector, self.piece)

    @property
    def leaf(self) -> str:
        """The last component of the selector: the stage, and for a pass its number and name."""
        return self.snapshot.selector.rpartition("/")[2]

    @property
    def compiled_with(self) -> str | None:
        """The piece whose snapshot stands in for this piece's; None for its own."""
        return self.snapshot.piece if self.change is not None else None


class Trail:
    """The ways through a dump; what is read is kept.

    Args:
        dump: the dump; its manifest tells the order, node tables are read when they are walked through.
    """

    def __init__(self, dump: Dump) -> None:
        self.dump = dump
        self.problems: dict[str, str] = {}
        self._before: dict[str, Snapshot] = {}
        self._after: dict[str, list[Snapshot]] = {}
        self._stand_ins: dict[tuple[str, str | None], list[tuple[str, str | None, Mapping[str, str]]]] = {}
        self._together: dict[tuple[str, str | None, str | None], list[tuple[str, Mapping[str, str]]]] = {}
        self._pieces: dict[tuple[str, str | None], Snapshot] = {}
        self._tables: dict[str, LightTable] = {}
        self._origins: dict[str, list[Ids] | None] = {}
        self._splits: dict[tuple[str, str | None], Spot | None] = {}
        self._paths: dict[tuple[str, str | None, int], tuple[str, ...]] = {}
        self._names: dict[tuple[str, str | None], Mapping[str, str]] = {}
        self._spots: dict[tuple[str, str | None], list[Spot]] = {}
        self._followed: dict[tuple[str, Ids], list[tuple[int, Ids]]] = {}
        self._roots: dict[tuple[str, str | None], Sequence[Ids]] = {}
        self._became: dict[str, _Fork] = {}
        self._handed: dict[str, Ids] = {}
        for compilation in dump:
            for before, after in in_order(compilation):
                if dump.snapshots.get(after.selector) is not after or dump.snapshots.get(before.selector) is not before:
                    continue  # a broken dump that has a selector twice: the order must not go in a ring
                self._before[after.selector] = before
                self._after.setdefault(before.selector, []).append(after)
            self._note_pieces(compilation)

    # -- graphs -----------------------------------------------------------------------------------------

    def table(self, snapshot: Snapshot) -> LightTable:
        """The nodes of a snapshot, under the layers of the one that holds its graph. Raises DumpError."""
        if snapshot.graph not in self._tables:
            self._tables[snapshot.graph] = read_light(snapshot)
        return self._tables[snapshot.graph]

    def readable(self, snapshot: Snapshot) -> LightTable | None:
        """The same; None, and a note in `problems`, when it cannot be read."""
        try:
            return self.table(snapshot)
        except DumpError as error:
            self.problems.setdefault(snapshot.selector, str(error))
            return None

    def nodes(self, spot: Spot, ids: Iterable[int]) -> list[LightNode]:
        """Nodes by their ids, in the graph's order. Raises DumpError."""
        nodes = self.table(spot.snapshot).nodes
        return [nodes[number] for number in sorted(ids)]

    def path(self, spot: Spot, node: LightNode) -> tuple[str, ...]:
        """A node's layers as "fqn: class", outermost first, under the spot's own names; empty when unknown."""
        if node.layer is None:
            return ()
        key = (*spot.key, node.layer)
        if key not in self._paths:
            path, names = self.table(spot.snapshot).path(node), self._layer_names(spot)
            parts = [layer.rpartition(": ") for layer in path]
            self._paths[key] = tuple(f"{names.get(fqn, fqn)}{separator}{cls}" for fqn, separator, cls in parts)
        return self._paths[key]

    def _layer_names(self, spot: Spot) -> Mapping[str, str]:
        """Layer fqns in the node table -> those that are meant, where these are others. Raises DumpError."""
        if spot.key not in self._names:
            owner = spot.snapshot.owner
            as_stored = spot.change is None and owner.layers == spot.snapshot.layers
            self._names[spot.key] = {} if as_stored else View(spot.snapshot, spot.piece, spot.change).layer_map
        return self._names[spot.key]

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

    # -- spots ------------------------------------------------------------------------------------------

    def spot(self, snapshot: Snapshot) -> Spot:
        """A snapshot under its own layers."""
        return Spot(snapshot, snapshot.piece)

    def before(self, spot: Spot) -> Spot | None:
        """The spot that one comes from; None for the first of its compilation."""
        before = self._before.get(spot.snapshot.selector)
        if before is None or spot.change is None:
            return None if before is None else self.spot(before)
        if before.range is not None:
            return Spot(before, spot.piece, spot.change)
        own = self._pieces.get((before.compilation or "", spot.piece))
        return self.spot(own) if own is not None and own.graph == before.graph else None

    def first(self, spot: Spot) -> Spot:
        """The spot from which one comes in the end: the captured graph, unless that was not recorded."""
        while (before := self.before(spot)) is not None:
            spot = before
        return spot

    def after(self, spot: Spot) -> list[Spot]:
        """The spots that come after one."""
        if spot.key not in self._spots:
            self._spots[spot.key] = self._spots_after(spot)
        return self._spots[spot.key]

    def _spots_after(self, spot: Spot) -> list[Spot]:
        after = self._after.get(spot.snapshot.selector, ())
        if spot.change is not None:
            return [Spot(each, spot.piece, spot.change) for each in after]
        found = [self.spot(each) for each in after]
        if spot.snapshot.stage == "piece":
            found += self._stood_in_for(spot.snapshot)
        return found

    def split(self, spot: Spot) -> Spot | None:
        """The stitching graph that a whole graph was split into; None when it was not."""
        if spot.key not in self._splits:
            after = (each for each in self.after(spot) if each.snapshot.stage == "after_split")
            self._splits[spot.key] = next(after, None)
        return self._splits[spot.key]

    def equals(self, spot: Spot) -> list[Spot]:
        """The same graph at the same stage and range of other, equal pieces.

        For a snapshot that another piece was compiled with: under that piece's layers. For pieces that were compiled
        by themselves: their own snapshot.
        """
        here = spot.snapshot
        if here.range is None or spot.change is not None:
            return []
        compilation = here.compilation or ""
        stand_ins = self._together.get((compilation, here.piece, here.range), ())
        found = [Spot(here, piece, change) for piece, change in stand_ins]
        folder = f"{compilation}/{here.piece}/"
        for name, piece in self._pieces:
            other = self.dump.snapshots.get(here.selector.replace(folder, f"{compilation}/{piece}/", 1))
            if name == compilation and piece != here.piece and other is not None and other.graph == here.graph:
                found.append(self.spot(other))
        return found

    def _stood_in_for(self, piece: Snapshot) -> Iterator[Spot]:
        """The first snapshots of ranges in which another piece was compiled for this one."""
        compilation = piece.compilation or ""
        for first, compile_range, change in self._stand_ins.get((compilation, piece.piece), ()):
            other = self._pieces.get((compilation, first))
            if other is None or other.graph != piece.graph:
                continue
            for snapshot in self._after.get(other.selector, ()):
                if snapshot.range == compile_range:
                    yield Spot(snapshot, piece.piece, change)

    def stand_ins(self, compilation: str, piece: str) -> list[tuple[str, str | None, Mapping[str, str]]]:
        """The pieces and ranges that stand in for a piece, with the layers that are meant instead."""
        return self._stand_ins.get((compilation, piece), [])

    def _note_pieces(self, compilation: Compilation) -> None:
        for snapshot in compilation.snapshots:
            if snapshot.stage == "piece":
                self._pieces.setdefault((compilation.name, snapshot.piece), snapshot)
        for (first, compile_range), others in compiled_together(compilation).items():
            self._together[compilation.name, first, compile_range] = others
            for piece, change in others:
                known = self._stand_ins.setdefault((compilation.name, piece), [])
                known.append((first or "", compile_range, change))

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
