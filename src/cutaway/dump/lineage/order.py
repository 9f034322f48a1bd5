"""Which snapshot comes after which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cutaway.dump.compilation import Compilation
from cutaway.dump.snapshot import Snapshot

_BEFORE: dict[str | None, tuple[str | None, ...]] = {
    "split": (None,),
    "joint": ("joint", None),
    "forward": ("forward", "joint", None),
    "backward": ("backward", "joint"),
    "inference": ("inference", "joint", None),
}
_PHASES = ("forward", "backward")


def in_order(compilation: Compilation) -> Iterator[tuple[Snapshot, Snapshot]]:
    """Each snapshot with the one before it, as `cutaway.record.compilation.Scope` keeps them while recording."""
    tracks: dict[tuple[str, ...], dict[str | None, Snapshot]] = {}
    for snapshot in compilation.snapshots:
        scope = tuple(snapshot.selector.split("/")[:-1])
        if len(scope) > 1 and scope[-1] in _PHASES and scope[-1] == snapshot.phase:
            scope = scope[:-1]  # the two phases of one graph are in folders of their own
        phase = "split" if snapshot.stage == "after_split" else snapshot.phase
        track = tracks.setdefault(scope, {})
        if snapshot.stage == "before_pre_grad":
            for key in [key for key in track if key is not None]:
                del track[key]
        before = _before(tracks, scope, phase)
        if before is not None:
            yield before, snapshot
        track[phase] = snapshot


def _before(
    tracks: Mapping[tuple[str, ...], Mapping[str | None, Snapshot]], scope: tuple[str, ...], phase: str | None
) -> Snapshot | None:
    while scope:
        track = tracks.get(scope, {})
        for key in _BEFORE.get(phase, (None,)):
            if key in track:
                return track[key]
        if scope[-1].startswith("graph_"):  # a further graph comes after no other
            return None
        scope, phase = scope[:-1], None
    return None
