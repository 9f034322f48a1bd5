"""Nodes, kernels and compile times of two runs side by side, for people."""

from __future__ import annotations

from collections.abc import Iterator

from cutaway.cli.compare_words import pieces_text, range_text
from cutaway.cli.output import Styled, aligned
from cutaway.dump.compare import Comparison, CompilationPair, FiguresPair

MOST_ROWS = 8
"""Pieces of one compilation of which the figures are shown; those with the longest compile times apart come first."""


def figures_lines(found: Comparison, everything: bool) -> Iterator[list[Styled]]:
    """Nodes, kernels and compile times side by side: of each range, and of pieces that differ notably in one."""
    head = ["", "nodes A", "B", "kernels A", "B", "seconds A", "B", ""]
    rows = [row for pair in found.compilations for row in _figures_of(pair, everything)]
    if not rows:
        return
    yield []
    table = aligned([head, *rows], right=range(1, 7), most=64)
    yield from ([("  " + "  ".join(row).rstrip(), "")] for row in table)


def _figures_of(pair: CompilationPair, everything: bool) -> Iterator[list[str]]:
    """The rows of a compilation; none when there is nothing to say of it."""
    whole, *parts = pair.figures
    ranges = [each for each in parts if not each.pieces_a and not each.pieces_b] or [whole]
    for each in ranges:
        if everything or each.notable:
            yield _row(f"{pair.name} {range_text(each.ranges)}", each)
    pieces = [each for each in parts if each not in ranges and (everything or _is_own(each))]
    largest = sorted(pieces, key=lambda each: -each.gap)[: None if everything else MOST_ROWS]
    for each in pieces:
        if each in largest:
            yield _row(f"  {pieces_text(each.pieces_a, each.pieces_b)} {range_text(each.ranges)}", each)
    if len(largest) < len(pieces):
        yield [f"  {len(pieces) - len(largest)} more (--all lists them)", *[""] * 7]


def _is_own(pair: FiguresPair) -> bool:
    """Whether there is something to say of pieces that is not true of all pieces for this range."""
    return pair.notable and pair.a is not None and pair.b is not None


def _row(name: str, pair: FiguresPair) -> list[str]:
    """Numbers of both runs; `-` where one did not compile this, `?` where it does not say."""
    cells: list[str] = []
    for key in ("nodes", "kernels", "seconds"):
        for side in (pair.a, pair.b):
            value = getattr(side, key) if side else None
            cells.append("-" if side is None else _number(value, key == "seconds"))
    return [name, *cells, ""]


def _number(value: float | None, seconds: bool) -> str:
    if value is None:
        return "?"
    return f"{value:.1f}" if seconds else str(value)
