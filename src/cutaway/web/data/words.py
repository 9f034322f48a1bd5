"""Texts of a dump, which may hold anything, cut to what a page can bear."""

from __future__ import annotations

LONGEST = 4000
"""Characters of a text that is shown in a line."""


def cut(text: str, most: int = LONGEST) -> str:
    """A text, or its beginning and how long it is."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text):,} characters)".replace(",", "\N{NARROW NO-BREAK SPACE}")


def cut_or_none(text: str | None, most: int = LONGEST) -> str | None:
    """The same for a text that may be missing."""
    return None if text is None else cut(text, most)
