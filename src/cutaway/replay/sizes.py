"""With which sizes a graph is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cutaway.dump.schema import Size, Symbol
from cutaway.errors import UsageError
from cutaway.replay.subject import Subject

USUAL = 16
"""So many rows are enough to see what differs."""


def parse_sizes(texts: Iterable[str]) -> dict[str, int]:
    """`["s72=16"]` as a dictionary. Raises UsageError."""
    sizes: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals or not name or not number.isdecimal():
            raise UsageError(f"{text!r} is no size", "", "write it as NAME=NUMBER, such as s72=16")
        sizes[name] = int(number)
    return sizes


def check_sizes(asked: Mapping[str, int], *subjects: Subject) -> Mapping[str, int]:
    """The sizes that were asked for. Raises UsageError when no graph has one of them."""
    known = dict.fromkeys(name for subject in subjects for name in subject.raw.sizes)
    for name in asked:
        if name not in known:
            has = f"it takes {', '.join(known)}" if known else "all of its sizes are fixed"
            raise UsageError(f"{subjects[-1].name} has no size {name!r}", has, "leave it out, or name another")
    return asked


def choose_sizes(subject: Subject, asked: Mapping[str, int]) -> dict[str, int]:
    """Sizes for the symbols of a graph: those that were asked for, or few rows within what it was compiled for.

    Symbols that were of one size while tracing (ids and positions of the same tokens) get one size.

    Args:
        subject: the graph.
        asked: sizes of its symbols that are wanted.
    """
    hints = subject.raw.sizes
    alike = {hints[name]: size for name, size in asked.items()}
    low, high = _bounds(subject)
    sizes: dict[str, int] = {}
    for name, hint in hints.items():
        usual = hint if len(set(hints.values())) > 1 else max(low, min(USUAL, high, hint))
        sizes[name] = asked[name] if name in asked else alike.get(hint, usual)
    return sizes


def _bounds(subject: Subject) -> tuple[int, int]:
    """What the graph's sizes may be: its compile range, and the range of its symbols."""
    table = subject.table
    lows, highs = [1], [USUAL]
    symbols: Iterable[Symbol] = table.symbols.values() if table is not None else ()
    lows += [symbol.min for symbol in symbols if symbol.min is not None]
    highs += [symbol.max for symbol in symbols if symbol.max is not None]
    span = subject.snapshot.range if subject.snapshot is not None else None
    start, _, end = (span or "").partition("_")
    if start.isdecimal() and end.isdecimal():
        lows.append(int(start))
        highs.append(int(end))
    return max(lows), max(min(highs), 1)


def agree(
    one: Mapping[str, int], other: Subject, pairs: Iterable[tuple[Size, Size]], asked: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Sizes of two graphs that are to get the same inputs.

    Args:
        one: sizes of the first graph, as chosen.
        other: the second graph.
        pairs: what sizes of the first graph are in the second, such as ("s72", 8).
        asked: what the user asked for.

    Raises:
        UsageError: what was asked for is not what the other graph was compiled for.
    """
    first = dict(one)
    second = choose_sizes(other, {name: size for name, size in asked.items() if name in other.raw.sizes})
    second |= {name: first[name] for name in second if name in first}
    pairs = list(pairs)
    for left, right in pairs:
        if isinstance(left, str) and left in first and isinstance(right, int):
            if asked.get(left, right) != right:
                why = f"in {other.name} that size is fixed, it is {right}"
                raise UsageError(f"{left} cannot be {asked[left]}", why, f"leave it out, or give {left}={right}")
            first[left] = right
    for left, right in pairs:
        if isinstance(right, str) and right in second:
            second[right] = first.get(left, second[right]) if isinstance(left, str) else left
    return first, second
