"""Compile ranges: for which batch sizes a piece is compiled, and which of them a batch takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from cutaway.compiler.config import CompilationConfig
from cutaway.errors import ConfigError


@dataclass(frozen=True, order=True)
class Range:
    """Batch sizes from ``start`` to ``end``, both included.

    A range of one size that was asked for as a single size (``compile_sizes``) is compiled with that size fixed.
    """

    start: int
    end: int
    is_single_size: bool = False

    def __contains__(self, size: object) -> bool:
        return isinstance(size, int) and self.start <= size <= self.end

    def __str__(self) -> str:
        return f"{self.start}_{self.end}"


def make_ranges(config: CompilationConfig) -> tuple[Range, ...]:
    """The ranges to compile ahead, single sizes first (they win over the range that holds them).

    Raises:
        ConfigError: ranges overlap, are empty, or begin below 1; a single size lies in none of them.
    """
    spans = [Range(start, end) for start, end in sorted(config.compile_ranges or ((1, config.max_batch),))]
    for span in spans:
        if span.start < 1 or span.end < span.start:
            raise ConfigError(
                f"[{span.start}, {span.end}] is no compile range", cure="give both ends, the smaller first, from 1 on"
            )
    for one, other in pairwise(spans):
        if other.start <= one.end:
            raise ConfigError(
                f"the compile ranges [{one.start}, {one.end}] and [{other.start}, {other.end}] overlap",
                f"both hold {other.start}",
                f"begin the second at {one.end + 1}",
            )
    sizes = sorted(set(config.compile_sizes))
    for size in sizes:
        if not any(size in span for span in spans):
            raise ConfigError(
                f"the compile size {size} lies outside all compile ranges",
                f"they are {', '.join(f'[{span.start}, {span.end}]' for span in spans)}",
                "widen a range or leave the size out",
            )
    return (*(Range(size, size, is_single_size=True) for size in sizes), *spans)


def range_of(size: int, ranges: Iterable[Range]) -> Range | None:
    """The range that a batch of this size takes: the first that holds it, or None."""
    return next((span for span in ranges if size in span), None)
