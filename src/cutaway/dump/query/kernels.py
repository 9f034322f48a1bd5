"""Which kernels a node of a last graph is in, as the generated code says."""

from __future__ import annotations

from collections.abc import Mapping

from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Code, Snapshot

_Place = tuple[str | None, str | None, str | None, str | None]
"""Compilation, piece, range, phase."""


class Kernels:
    """The kernels of a dump.

    Args:
        dump: the dump; only its manifest is read.
    """

    def __init__(self, dump: Dump) -> None:
        self._codes: dict[_Place, list[Code]] = {}
        self._last: dict[_Place, Snapshot] = {}
        for code in dump.codes.values():
            if code.kernels:
                self._codes.setdefault(_place(code), []).append(code)
        for snapshot in dump.snapshots.values():
            if snapshot.stage == "post_grad" or self._last.get(_place(snapshot), snapshot).stage != "post_grad":
                self._last[_place(snapshot)] = snapshot

    def of(self, snapshot: Snapshot) -> Mapping[str, frozenset[str]]:
        """Node name -> kernels that it is in. Empty for a snapshot that is not the last of its piece and range.

        The code names nodes as its own graph did. Where an equal graph of another range was stored in its place,
        under other names, the kernels are taken from that one's code; where that has others, they are unknown.
        Raises DumpError when the graph is not in the dump.
        """
        place = _place(snapshot)
        if self._last.get(place) is not snapshot or place not in self._codes:
            return {}
        kernels = self._names(_place(snapshot.owner))
        if kernels.keys() != self._names(place).keys():
            return {}
        found: dict[str, set[str]] = {}
        for kernel, names in kernels.items():
            for name in names:
                found.setdefault(name, set()).add(kernel)
        return {name: frozenset(those) for name, those in found.items()}

    def last(self, code: Code) -> Snapshot | None:
        """The last graph of a code's piece and range; None when it was not recorded."""
        return self._last.get(_place(code))

    def _names(self, place: _Place) -> dict[str, list[str]]:
        """Kernel -> names of its nodes."""
        found: dict[str, list[str]] = {}
        for code in self._codes.get(place, ()):
            for kernel, names in code.kernels.items():
                found.setdefault(kernel, []).extend(names)
        return found


def _place(step: Snapshot | Code) -> _Place:
    return (step.compilation, step.piece, step.range, step.phase)
