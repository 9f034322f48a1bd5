"""A snapshot, seen under the layers of one of the pieces that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cutaway.dump.snapshot import Snapshot

Ids = frozenset[int]
"""Nodes of a graph, by their ids."""


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
