"""Reading dumps; no torch."""

from __future__ import annotations

from cutaway.dump.reader import Code, Compilation, Dump, Piece, Snapshot, load

__all__ = ["Code", "Compilation", "Dump", "Piece", "Snapshot", "load"]
