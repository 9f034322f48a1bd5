"""Which piece of one run is which of another, and which compile range."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from cutaway.dump.compare.align import MOST, align
from cutaway.dump.compilation import Compilation, Piece
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import DumpError

ALIKE = 0.3
"""Pieces that have less of their operators in common do not stand for each other."""


Texts = Callable[[Piece], frozenset[str]]
"""The identities of a piece's generated code, for whatever range."""


def match_pieces(a: Compilation, b: Compilation, texts: tuple[Texts, Texts]) -> list[tuple[Piece | None, Piece | None]]:
    """The pieces of two runs in model order: equal graphs first, then those with the most operators in common.

    Numbers do not count: where one run has a piece more, those after it are matched all the same. Where one run has no
    graphs (it came from a cache), pieces are matched by their code.

    Args:
        a, b: the compilations.
        texts: what tells the code of the pieces of either.
    """
    left, right = a.pieces, b.pieces
    if a.snapshots and b.snapshots:
        graphs = _Graphs()
        pairs = align([graphs.of(piece) for piece in left], [graphs.of(piece) for piece in right], graphs.likeness)
    else:
        ours = [_Coded(piece.name, texts[0](piece)) for piece in left]
        theirs = [_Coded(piece.name, texts[1](piece)) for piece in right]
        pairs = align(ours, theirs, _shared_code)
    return [(None if i is None else left[i], None if j is None else right[j]) for i, j in pairs]


class _Coded(NamedTuple):
    name: str
    texts: frozenset[str]


def _shared_code(a: _Coded, b: _Coded) -> float:
    """Pieces that have code in common, rather those of the same name; or no code, and the same name."""
    same_name = ALIKE if a.name == b.name else 0.0
    return 1 + same_name if a.texts & b.texts else same_name * (not a.texts or not b.texts)


class _Graphs:
    """The graphs that pieces were split off as."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._ops: dict[str, Counter[str] | None] = {}

    def of(self, piece: Piece) -> str:
        """The fingerprint of a piece; empty when it has no graph."""
        snapshots = sorted(piece.snapshots, key=lambda each: each.stage != "piece")
        if not snapshots:
            return ""
        self._snapshots[snapshots[0].graph] = snapshots[0]
        return snapshots[0].graph

    def likeness(self, a: str, b: str) -> float:
        """The share of operators that two pieces have in common; 0 when it is small, a little when it is unknown."""
        ours, theirs = self._counts(a), self._counts(b)
        if ours is None or theirs is None:
            return ALIKE
        share = (ours & theirs).total() / max(1, (ours | theirs).total())
        return share if share >= ALIKE else 0.0

    def _counts(self, graph: str) -> Counter[str] | None:
        if graph not in self._ops:
            self._ops[graph] = self._counted(graph)
        return self._ops[graph]

    def _counted(self, graph: str) -> Counter[str] | None:
        snapshot = self._snapshots.get(graph)
        try:
            nodes = snapshot.dump.table(snapshot.owner)[0].nodes if snapshot else ()
        except DumpError:
            return None
        return Counter(node.target for node in nodes if node.op.startswith("call_"))


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
