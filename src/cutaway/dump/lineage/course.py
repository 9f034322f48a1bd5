"""From snapshot to snapshot of a dump: which comes after which.

    captured ─ before_split ─┬─ after_split
                             ├─ piece_00 ─┬─ range_8_8: aot_forward … post_grad
                             │            └─ range_1_16: …
                             └─ piece_02 …

A piece that repeats another may have been compiled with it: then the other one's ranges are walked under this piece's
layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cutaway.dump.compilation import Compilation
from cutaway.dump.lineage.light import LightNode, LightTable, read_light
from cutaway.dump.lineage.order import in_order
from cutaway.dump.lineage.spot import Spot
from cutaway.dump.query.view import View, compiled_together
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import DumpError


class Course:
    """The snapshots of a dump in the order in which they became each other; what is read is kept.

    Args:
        dump: the dump; its manifest tells the order, node tables are read when they are walked through.

    Attributes:
        problems: selector of a snapshot -> why it cannot be walked through.
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
        self._splits: dict[tuple[str, str | None], Spot | None] = {}
        self._paths: dict[tuple[str, str | None, int], tuple[str, ...]] = {}
        self._names: dict[tuple[str, str | None], Mapping[str, str]] = {}
        self._spots: dict[tuple[str, str | None], list[Spot]] = {}
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
