"""Where a snapshot stands in the course of a compile, and which nodes of an earlier one its nodes stem from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from cutaway.dump.schema import NodeTable
from cutaway.dump.snapshot import Snapshot

Stems = list[frozenset[int]]
"""For each node, the places of the nodes of an earlier snapshot that it stems from; empty when unknown."""

_BEFORE: dict[str | None, tuple[str | None, ...]] = {
    "joint": ("joint", None),
    "forward": ("forward", "joint", None),
    "backward": ("backward", "joint"),
    "inference": ("inference", "joint", None),
}
_PHASES = ("forward", "backward")


def predecessor(snapshot: Snapshot) -> Snapshot | None:
    """The snapshot of the same graph before this one; None for the first.

    A range's first comes after the piece, a piece's after the whole graph. As `cutaway.record.compilation.Scope`
    keeps them while recording.
    """
    earlier = [
        other
        for other in snapshot.dump.snapshots.values()
        if other.compilation == snapshot.compilation and other.seq < snapshot.seq and other.stage != "after_split"
    ]
    scope, phase = _scope(snapshot), snapshot.phase
    while True:
        for key in _BEFORE.get(phase, (None,)):
            found = [other for other in earlier if other.phase == key and _scope(other) == scope]
            if found:
                return found[-1]
        name = scope.rpartition("/")[2]
        if "/" not in scope or name.startswith("graph_"):
            return None
        scope, phase = scope.rpartition("/")[0], None


def predecessors(snapshots: Iterable[Snapshot]) -> dict[str, Snapshot]:
    """`predecessor` of each of a dump's snapshots, by selector; the first ones are left out.

    Args:
        snapshots: all of them, in the order of recording.
    """
    found: dict[str, Snapshot] = {}
    newest: dict[tuple[str, str | None], Snapshot] = {}
    for snapshot in snapshots:
        scope, phase = _scope(snapshot), snapshot.phase
        here = scope
        while True:
            before = next((newest[scope, key] for key in _BEFORE.get(phase, (None,)) if (scope, key) in newest), None)
            if before is not None:
                found[snapshot.selector] = before
            if before is not None or "/" not in scope or scope.rpartition("/")[2].startswith("graph_"):
                break
            scope, phase = scope.rpartition("/")[0], None
        if snapshot.stage != "after_split":
            newest[here, snapshot.phase] = snapshot
    return found


def _scope(snapshot: Snapshot) -> str:
    """The folder that a snapshot is in, forward and backward in the same one."""
    folder = snapshot.selector.rpartition("/")[0]
    head, _, last = folder.rpartition("/")
    return head if last in _PHASES and last == snapshot.phase else folder


def chain(before: Snapshot, after: Snapshot) -> list[Snapshot] | None:
    """The snapshots from one to a later one of the same graph, both included; None when it does not come from it."""
    if before.dump is not after.dump:
        return None
    found = [after]
    while found[-1] is not before:
        earlier = predecessor(found[-1])
        if earlier is None or earlier.seq < before.seq:
            return None
        found.append(earlier)
    return found[::-1]


def stems(snapshots: Sequence[Snapshot]) -> Stems | None:
    """What the nodes of the last of these snapshots stem from in the first; None when that is not recorded.

    Args:
        snapshots: a `chain`.
    """
    found: Stems | None = None
    for before, after in pairwise(snapshots):
        step = step_stems(before, after)
        if step is None:
            return None
        found = step if found is None else [frozenset().union(*(found[each] for each in some)) for some in step]
    return found


def step_stems(before: Snapshot, after: Snapshot) -> Stems | None:
    """What each node stems from in the snapshot before; None when the dump does not tell."""
    if before.graph == after.graph:
        return [frozenset((place,)) for place in range(len(after.table.nodes))]
    if after.origins is not None:
        return _places(after.origins, before.table, after.table)
    if after.owner is after or _came_from(after.owner) == before.graph:
        return _places([node.origins for node in after.owner.table.nodes], before.table, after.table)
    return None


def _came_from(snapshot: Snapshot) -> str | None:
    earlier = predecessor(snapshot)
    return earlier.graph if earlier is not None else None


def _places(ids: Sequence[Iterable[int] | None], before: NodeTable, after: NodeTable) -> Stems | None:
    places: Mapping[int, int] = {node.id: place for place, node in enumerate(before.nodes)}
    if len(ids) != len(after.nodes) or not any(ids):
        return None
    return [frozenset(places[each] for each in some or () if each in places) for some in ids]
