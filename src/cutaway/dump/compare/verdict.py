"""A whole comparison in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.dump.compare.compilations import CompilationPair, PieceGroup
from cutaway.dump.compare.pieces import by_size
from cutaway.dump.compare.result import Comparison

FEW = 4


def verdict(found: Comparison) -> str:
    """The whole comparison in a sentence."""
    if found.same_graphs:
        kernels = "the same kernels" if found.same_kernels else "other kernels"
        return f"The same graphs at every stage, and {kernels}."
    only = [f"{pair.name} only in {'B' if pair.a is None else 'A'}" for pair in _unpaired(found.compilations)]
    ranges: list[str] = []
    groups: list[PieceGroup] = []
    whole: list[str] = []
    for pair in found.compilations:
        if pair.a is None or pair.b is None:
            continue
        for side, other in (("A", "b"), ("B", "a")):
            names = by_size(getattr(each, side.lower()) for each in pair.ranges if getattr(each, other) is None)
            ranges += [f"{ranges_text(names)} only in {side}"] if names else []
        whole += [] if pair.whole.course.same else [pair.name]
        groups += [group for group in pair.pieces if differs(group)]
    reasons = [f"{', '.join(whole)} before any piece"] if whole else []
    reasons += _pieces_that_differ(groups)
    reasons += only + ranges
    return f"The graphs differ: {'; '.join(reasons)}."


def _pieces_that_differ(groups: Sequence[PieceGroup]) -> list[str]:
    """How many pieces differ, and of how many that is seen in the last graph."""
    ends = [group for group in groups if group.a and group.b and group.same_ends]
    on_the_way = sum(len(group.a) for group in ends)
    to_the_end = sum(max(len(group.a), len(group.b)) for group in groups if group not in ends)
    return [
        *([counted(to_the_end, "piece")] if to_the_end else []),
        *([f"{counted(on_the_way, 'piece')} on the way to the same last graph"] if on_the_way else []),
    ]


def _unpaired(pairs: Sequence[CompilationPair]) -> list[CompilationPair]:
    return [pair for pair in pairs if pair.a is None or pair.b is None]


def differs(group: PieceGroup) -> bool:
    """Whether there is more to say of pieces than that they were compiled for other ranges."""
    inside = all(each.course.same and each.texts.same for each in group.compiled)
    return not (group.a and group.b and group.whole.same and inside)


def ranges_text(names: Sequence[str]) -> str:
    return f"{'range' if len(names) == 1 else 'ranges'} {few(names)}" if names else ""


def few(names: Sequence[str]) -> str:
    """Names as a list, cut short in the middle."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{', '.join(names[: FEW - 1])}, … {names[-1]} ({len(names)})"


def counted(count: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count} {noun if count == 1 else plural}"
