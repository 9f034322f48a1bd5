"""Identical pieces, ranges and ranks, so that each is shown once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutaway.dump.compilation import Compilation, Piece, Step
from cutaway.dump.snapshot import Code, Snapshot

if TYPE_CHECKING:
    from cutaway.dump.reader import Dump


@dataclass(frozen=True)
class Same:
    """One that is shown, and the others that are the same.

    Attributes:
        shown: the name of the first of them.
        others: the names of the others, in order.
    """

    shown: str
    others: tuple[str, ...]


def fold_pieces(compilation: Compilation) -> list[Same]:
    """The pieces of a compilation, equal ones together, by the first of each kind."""
    groups: dict[str, list[str]] = {}
    for piece in compilation.pieces:
        groups.setdefault(piece.same_as or piece.name, []).append(piece.name)
    return [Same(shown, tuple(name for name in names if name != shown)) for shown, names in groups.items()]


def fold_ranges(piece: Piece) -> list[Same]:
    """The ranges of a piece; those that went through the same graphs (or have the same code) are together."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for compile_range in piece.ranges:
        steps = [step for step in piece.steps if step.range == compile_range]
        groups.setdefault(_course(steps), []).append(compile_range)
    return [Same(names[0], tuple(names[1:])) for names in groups.values()]


def courses(piece: Piece) -> frozenset[object]:
    """What a piece went through after the split, range by range; empty when it was not compiled by itself."""
    steps = [[step for step in piece.steps if step.range == compile_range] for compile_range in piece.ranges]
    return frozenset(_course(each) for each in steps)


def fold_ranks(dump: Dump) -> list[Same]:
    """The processes of a dump's run; those that recorded the same graphs are together. Raises DumpError."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for process in dump.processes:
        other = dump if process == dump.process else dump.sibling(process)
        graphs = tuple((name, _course(part.steps)) for name, part in sorted(other.compilations.items()))
        groups.setdefault(graphs, []).append(process)
    return [Same(names[0], tuple(names[1:])) for names in groups.values()]


def _course(steps: Sequence[Step]) -> tuple[object, ...]:
    """The graphs that steps went through, piece by piece, whatever pieces and ranges are called.

    Where there is no graph, on a warm start, it is the code.
    """
    only_code = not any(isinstance(step, Snapshot) for step in steps)
    pieces: dict[str | None, list[tuple[str, str]]] = {}
    for step in steps:
        if isinstance(step, Snapshot):
            pieces.setdefault(step.piece, []).append((step.selector.rpartition("/")[2], step.graph))
        elif only_code and isinstance(step, Code):
            pieces.setdefault(step.piece, []).append((step.selector.rpartition("/")[2], step.digest))
    return tuple(tuple(graphs) for graphs in pieces.values())
