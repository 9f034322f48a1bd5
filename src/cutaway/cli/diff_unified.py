"""`cutaway diff --text`: unified text, as `diff -u` writes it, with names that do not change for no reason.

A node that stayed has the name that it had before, and a new one that took the place of a value has that value's
name: so a line differs only where the node does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.diff_words import absent_text, inside_text, layers_text, notes, title
from cutaway.cli.output import Styled
from cutaway.dump.diff.result import Diff, Rewrite
from cutaway.dump.diff.select import Compared
from cutaway.dump.diff.shown import Line, Pictures, stable_names


def unified_lines(found: Sequence[Compared]) -> Iterator[list[Styled]]:
    """Differences as unified text; comments and the notes about a rewrite begin with `#`."""
    for compared in found:
        yield [(f"# {title(compared)}", "bold")]
        yield [(f"# {compared.summary}", "")]
        yield from ([(f"# {note}", "dim")] for note in notes(compared))
        if compared.diff is not None and not compared.diff.is_empty:
            yield from _diff(compared.diff)


def _diff(diff: Diff) -> Iterator[list[Styled]]:
    pictures = Pictures(diff.parts, stable_names(diff))
    part = -1
    for rewrite in diff.rewrites:
        if rewrite.places[0].part != part:
            part = rewrite.places[0].part
            yield [(f"--- {diff.parts[part].before.selector}", "bold")]
            yield [(f"+++ {diff.parts[part].after.selector}", "bold")]
        yield from _rewrite(rewrite, pictures)
    for inside in diff.inside:
        yield [(f"# {inside_text(inside)}", "bold")]
        yield from _diff(inside.diff)


def _rewrite(rewrite: Rewrite, pictures: Pictures) -> Iterator[list[Styled]]:
    where, cls = layers_text(rewrite)
    yield [(f"@@ {rewrite.often} {where}{f': {cls}' if cls else ''} @@ {rewrite.text}", "cyan")]
    if rewrite.providers:
        yield [(f"# provider: {', '.join(rewrite.providers)}", "dim")]
    yield from ([(f"# {absent_text(absent)}", "yellow")] for absent in rewrite.absent)
    lines = pictures.lines(rewrite)
    middle = [line for line in lines if line.kind != "around"]
    first = lines.index(middle[0]) if middle else 0
    for line in lines[:first]:
        yield from _around(line)
    if rewrite.kind in ("changed", "moved"):
        yield from (each for line in middle for each in _exchanged([line]))
    else:
        yield from _exchanged(middle)
    for line in lines[first + len(middle) :]:
        yield from _around(line)


def _around(line: Line) -> Iterator[list[Styled]]:
    if line.before is not None and line.after is not None and line.before.line == line.after.line:
        yield [(f" {line.before.line}{_type(line.before.type)}", "dim")]
    else:
        yield from _exchanged([line])


def _exchanged(lines: Sequence[Line]) -> Iterator[list[Styled]]:
    for sign, style, texts in (
        ("-", "red", [line.before for line in lines]),
        ("+", "green", [line.after for line in lines]),
    ):
        yield from ([(f"{sign}{text.line}{_type(text.type)}", style)] for text in texts if text is not None)


def _type(text: str) -> str:
    return f"  # {text}" if text else ""
