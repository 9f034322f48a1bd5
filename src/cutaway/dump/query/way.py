"""From snapshot to snapshot of one graph, and which nodes stem from which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cutaway.dump.diff import match_nodes, predecessors
from cutaway.dump.query.view import compiled_together
from cutaway.dump.reader import Dump
from cutaway.dump.schema import NodeTable
from cutaway.dump.snapshot import Snapshot

Ids = set[int]
Links = Mapping[int, Sequence[int]]
"""Id of a node -> ids of the nodes of the snapshot before that it stems from; none when unknown."""


class Way:
    """The way that each graph of a dump went.

    Args:
        dump: the dump; its node tables are read when they are needed.
    """

    def __init__(self, dump: Dump) -> None:
        self._before = predecessors(dump.snapshots.values())
        self._after: dict[str, list[Snapshot]] = {}
        self._equal: dict[str, list[Snapshot]] = {}
        self._links: dict[tuple[str, str], Links] = {}
        for selector, before in self._before.items():
            self._after.setdefault(before.selector, []).append(dump.snapshots[selector])
        self._note_equal(dump)

    def before(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot that one comes from; None for the first."""
        return self._before.get(snapshot.selector)

    def links(self, before: Snapshot, after: Snapshot) -> Links:
        """Which nodes of the one snapshot stem from which of the other, by their node tables' ids.

        By the origins that were recorded; within a piece by structure where they were not. Raises DumpError.
        """
        key = (before.selector, after.selector)
        if key not in self._links:
            self._links[key] = self._linked(before, after)
        return self._links[key]

    def _linked(self, before: Snapshot, after: Snapshot) -> Links:
        nodes = table(after).nodes
        if after.origins is not None and len(after.origins) == len(nodes):
            return _without_inputs(before, after, [ids or () for ids in after.origins])
        if before.graph == after.graph:
            return {node.id: (node.id,) for node in nodes}
        home = self._before.get(after.owner.selector)
        if home is not None and home.graph == before.graph and any(node.origins for node in nodes):
            return _without_inputs(before, after, [node.origins for node in nodes])
        if before.piece != after.piece:  # a part of a graph is like many parts of it
            return {}
        return {new: (old,) for old, new in match_nodes(table(before), table(after)).pairs}

    def later(self, snapshot: Snapshot, ids: Ids) -> Iterator[tuple[Snapshot, Ids]]:
        """A snapshot and all later ones, with what some nodes became there. Raises DumpError."""
        open_ends = [(snapshot, ids)]
        while open_ends:
            here, ids = open_ends.pop()
            yield here, ids
            for after in self._after.get(here.selector, ()):
                links = self.links(here, after)
                became = {id_ for id_, origins in links.items() if not ids.isdisjoint(origins)}
                if became:
                    open_ends.append((after, became))

    def earlier(self, snapshot: Snapshot, ids: Ids) -> Iterator[tuple[Snapshot, Ids]]:
        """A snapshot and all earlier ones, with what some nodes stem from there. Raises DumpError.

        A piece stands for the equal pieces that were compiled with it.
        """
        open_ends: list[tuple[Snapshot, Ids]] = [(snapshot, ids)]
        while open_ends:
            here, ids = open_ends.pop()
            yield here, ids
            before = self._before.get(here.selector)
            if before is None:
                continue
            links = self.links(before, here)
            stems = {origin for id_ in ids for origin in links.get(id_, ())}
            if before.stage == "piece":
                open_ends += [(equal, stems) for equal in self._equal.get(here.selector.rpartition("/")[0], ())]
            if stems:
                open_ends.append((before, stems))

    def _note_equal(self, dump: Dump) -> None:
        """The pieces that were compiled with another, by the folder of that one's range."""
        for compilation in dump:
            pieces = {each.piece: each for each in compilation.snapshots if each.stage == "piece"}
            for (name, compile_range), others in compiled_together(compilation).items():
                folder = f"{compilation.name}/{name}/range_{compile_range}"
                self._equal[folder] = [pieces[other] for other, _ in others if other in pieces]


def _without_inputs(before: Snapshot, after: Snapshot, origins: Sequence[Sequence[int]]) -> Links:
    """Origins by id; an input of a piece stems from what another piece makes, but is no part of what became of it."""
    nodes = table(after).nodes
    whole = table(before).nodes if after.stage == "piece" else ()
    calls = {node.id for node in whole if node.op.startswith("call_")}
    return {
        node.id: () if node.op == "placeholder" and not calls.isdisjoint(ids) else ids
        for node, ids in zip(nodes, origins, strict=True)
    }


def table(snapshot: Snapshot) -> NodeTable:
    """A snapshot's nodes, without renaming its layers. Raises DumpError."""
    return snapshot.dump.table(snapshot.owner)[0]
