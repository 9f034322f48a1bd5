"""Patterns with `*` and `?`, and with sets of numbers as structured text writes them (`layers.0–3`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from cutaway.errors import UsageError
from cutaway.record.layers.words import DASH

_SPANS = re.compile(rf"(?<![\w*?])\d+(?:[{DASH}-]\d+|,\d+|…\d+)+(?![\w*?])")
_MOST = 10_000
"""Numbers in a set: more layers than any model has."""


def is_glob(pattern: str) -> bool:
    """Whether it stands for more than itself."""
    return "*" in pattern or "?" in pattern


@lru_cache(maxsize=256)
def glob(pattern: str, numbers: bool = False) -> Callable[[str], bool]:
    """A test of whole texts; letters match in either case, brackets are themselves.

    Args:
        pattern: what they may be.
        numbers: whether `0–3`, `0-3`, `0,2–4` and `0,2…34` are any of these numbers.

    Raises:
        UsageError: a set holds too many numbers.
    """
    lower = pattern.lower()
    if not is_glob(lower) and not (numbers and _SPANS.search(lower)):
        return lambda text: text.lower() == lower
    first, *rest = [_escaped(part, numbers) for part in lower.split("*")]
    # Atomic groups: the first place where a part fits is as good as any later one, so none is tried again.
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    last = f".*{rest[-1]}" if rest else ""
    matches = re.compile(rf"{first}{middle}{last}\Z", re.DOTALL).match
    return lambda text: matches(text.lower()) is not None


def _escaped(part: str, numbers: bool) -> str:
    """A part of a pattern without `*`, as a regular expression."""
    if not numbers:
        return re.escape(part).replace(r"\?", ".")
    texts = [re.escape(text).replace(r"\?", ".") for text in _SPANS.split(part)]
    sets = ["|".join(map(str, _numbers(text))) for text in _SPANS.findall(part)]
    return texts[0] + "".join(rf"(?:{found})(?!\d){text}" for found, text in zip(sets, texts[1:], strict=True))


def _numbers(text: str) -> list[int]:
    """The numbers that a set stands for; the inverse of `words.spans`."""
    head, dots, last = text.partition("…")
    parts = [[int(end) for end in re.split(f"[{DASH}-]", part)] for part in head.split(",")]
    spans = [range(part[0], part[-1] + 1) for part in parts]
    if dots and len(parts) > 1 and parts[-1][0] > parts[-2][-1]:
        spans.append(range(parts[-1][0], int(last.split("…")[-1]) + 1, parts[-1][0] - parts[-2][-1]))
    if sum((span.stop - span.start) // span.step for span in spans) > _MOST:
        raise UsageError(f"{text!r} is a set of more than {_MOST} numbers", "", "write * for any number")
    return [number for span in spans for number in span]
