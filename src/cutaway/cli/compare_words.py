"""Names of pieces, ranges and passes of two runs, for people."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.dump.compare import RangePair
from cutaway.dump.compare.verdict import FEW, few


def range_text(ranges: RangePair) -> str:
    """A range; in both runs where its names differ."""
    if not ranges.a or not ranges.b or ranges.a == ranges.b:
        return ranges.a or ranges.b or "all sizes"
    return f"{ranges.a} | {ranges.b}"


def pieces_text(a: Sequence[str], b: Sequence[str]) -> str:
    """Names of pieces; in both runs where they differ."""
    ours, theirs = few(a), few(b)
    return ours if not b or ours == theirs else f"{ours} | {theirs}"


def some_text(names: Sequence[str], most: int = FEW) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
