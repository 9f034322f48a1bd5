"""Which piece of one run is which of another, and which compile range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from cutaway.dump.compare.align import MOST, align
from cutaway.dump.compilation import Compilation, Piece
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import DumpError

ALIKE = 0.3
"""Pieces that have less of their operators in common do not stand for each other."""


def match_pieces(a: Compilation, b: Compilation) -> list[tuple[Piece | None, Piece | None]]:
    """The pieces of two runs in model order: equal graphs first, then those with the most operators in common.

    Numbers do not count: where one run has a piece more, those after it are matched all the same.
    """
    kinds = _Kinds()
    left, right = a.pieces, b.pieces
    ours, theirs = ([kinds.of(piece) for piece in pieces] for pieces in (left, right))
    pairs = align(ours, theirs, kinds.likeness)
    return [(None if i is None else left[i], None if j is None else right[j]) for i, j in pairs]


class _Kinds:
    """What sort of piece each is: by its graph, or by its code when it has none (it came from a cache)."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._ops: dict[str, Counter[str]] = {}

    def of(self, piece: Piece) -> str:
        snapshot = next((each for each in piece.snapshots if each.stage == "piece"), None)
        snapshot = snapshot or next(iter(piece.snapshots), None)
        if snapshot is not None:
            self._snapshots[snapshot.graph] = snapshot
            return snapshot.graph
        return "code " + " ".join(sorted(code.digest for code in piece.codes))

    def likeness(self, a: str, b: str) -> float:
        """The share of operators that two pieces have in common; a little when nothing is known of them."""
        ours, theirs = self._counts(a), self._counts(b)
        if ours is None or theirs is None:
            return ALIKE
        share = (ours & theirs).total() / max(1, (ours | theirs).total())
        return share if share >= ALIKE else 0.0

    def _counts(self, kind: str) -> Counter[str] | None:
        if kind not in self._snapshots:
            return None
        if kind not in self._ops:
            try:
                nodes = self._snapshots[kind].owner.table.nodes
            except DumpError:
                return None
            self._ops[kind] = Counter(node.target for node in nodes if node.op.startswith("call_"))
        return self._ops[kind]


@dataclass(frozen=True)
class RangePair:
    """A compile range of either run; None where one has no counterpart. Their names may differ."""

    a: str | None
    b: str | None


def match_ranges(a: Sequence[str], b: Sequence[str]) -> list[RangePair]:
    """The compile ranges of two runs: those of the same name, then those with the most sizes in common.

    A single size is only ever matched with itself: its graphs have a number where others have a symbol.
    """
    same = [name for name in a if name in b]
    left, right = ([name for name in names if name not in same] for names in (a, b))
    ends = {name: span for name in (*left, *right) if (span := _ends(name)) is not None}
    some = ((one, other) for one in left if one in ends for other in right if other in ends)
    both = [(_common(ends[one], ends[other]), one, other) for one, other in islice(some, MOST)]
    both = sorted((found for found in both if found[0]), key=lambda found: -found[0])
    pairs = {name: name for name in same}
    for _, one, other in both:
        if one not in pairs and other not in pairs.values():
            pairs[one] = other
    rest = [name for name in b if name not in pairs.values()]
    return [RangePair(name, pairs.get(name)) for name in a] + [RangePair(None, name) for name in rest]


def by_size(names: Iterable[str]) -> list[str]:
    """Compile ranges, each once, in the order of their sizes."""

    def sizes(name: str) -> list[int]:
        return [int(part) if part.isdecimal() and len(part) < 20 else 0 for part in name.split("_")]

    return sorted(dict.fromkeys(names), key=sizes)


def _common(a: tuple[int, int], b: tuple[int, int]) -> int:
    """How many sizes two ranges have in common."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0]) + 1)


def _ends(name: str) -> tuple[int, int] | None:
    """The first and the last size of a range; None for a single size, and for what is no range."""
    low, _, high = name.partition("_")
    if not (low.isdecimal() and high.isdecimal() and len(name) < 40) or low == high:
        return None
    return int(low), int(high)
