"""How commands write: text for people, JSON for programs, one sentence for an error."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

FINDING = 1
BAD_USE = 2
INTERRUPTED = 130

Styled = tuple[str, str]
"""A text and its style: "" for plain."""


def printable(text: str) -> str:
    """A text from a dump, which may try to drive the terminal, with control characters spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def terminal_width() -> int | None:
    """How many columns standard output has; None when it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write_lines(lines: Iterable[Sequence[Styled]]) -> None:
    """Print lines to standard output: coloured on a terminal, never wrapped or cut."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for line in lines:
        text = Text(end="")
        for part, style in line:
            text.append(printable(part), style or None)
        console.print(text, soft_wrap=True)


def write_text(text: str) -> None:
    """Print a file's text: byte for byte into a pipe, made harmless on a terminal."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")


def write_json(value: Any) -> None:
    """Print a value as indented JSON."""
    json.dump(msgspec.to_builtins(value), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def complain(sentence: str) -> None:
    """Print an error to standard error."""
    sys.stderr.write(f"error: {printable(sentence)}\n")


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (), most: int = 60) -> list[list[str]]:
    """Rows with their columns padded to equal width; the last column stays as it is.

    Args:
        rows: texts, the same number in each row.
        right: indices of columns that are aligned to the right.
        most: a column grows no wider than this for the sake of one long text.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max(len(row[i]) for row in rows) for i in range(count)]
    widths = [min(width, most) for width in widths]
    return [
        [
            text if i == count - 1 else text.rjust(widths[i]) if i in right else text.ljust(widths[i])
            for i, text in enumerate(row)
        ]
        for row in rows
    ]
