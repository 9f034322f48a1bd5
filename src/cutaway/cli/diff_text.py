"""What `cutaway diff` prints for people: each rewrite once, with its nodes before and after side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.diff_words import (
    absent_text,
    change_texts,
    inside_text,
    layers_text,
    notes,
    renamed_text,
    shown_text,
    title,
)
from cutaway.cli.output import Styled, aligned
from cutaway.dump.diff.result import Diff, Rewrite
from cutaway.dump.diff.select import Compared
from cutaway.dump.diff.shown import Line, Pictures, Text

NARROW = 100
"""On a terminal that is narrower, what is there now stands below what was there."""
MOST = 40
"""So many nodes of a rewrite are shown; there are rewrites of hundreds."""
INDENT = "    "
BETWEEN = " \N{BOX DRAWINGS LIGHT VERTICAL} "
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
TYPE_COLUMN = 32
SHORTEST = 80
"""A column is no narrower than this, however short its nodes are: there is more to see around them."""
MARKS = {"around": (" ", " "), "changed": ("!", "!"), "replaced": ("-", "+")}
STYLES = {"around": ("dim", "dim"), "changed": ("yellow", "yellow"), "replaced": ("red", "green")}


def diff_lines(found: Sequence[Compared], width: int | None, brief: bool) -> Iterator[list[Styled]]:
    """Differences, line by line.

    Args:
        found: one for each range, or a single one.
        width: of the terminal; None for a file or a pipe, where nothing is cut.
        brief: leave out the nodes.
    """
    for number, compared in enumerate(found):
        if number:
            yield []
        yield from _one(compared, width, brief)


def _one(compared: Compared, width: int | None, brief: bool) -> Iterator[list[Styled]]:
    yield [(title(compared), "bold")]
    yield [(compared.summary, "")]
    for note in notes(compared):
        yield [(note, "dim")]
    if compared.diff is None:
        return
    yield from _diff(compared.diff, width, brief)


def _diff(diff: Diff, width: int | None, brief: bool) -> Iterator[list[Styled]]:
    """The rewrites of a diff, then those in graphs inside of its graphs, under the nodes that hold these."""
    renamed = [each for each in diff.rewrites if each.is_renaming]
    if renamed:
        yield []
        yield [(renamed_text(renamed), "")]
    held = bool(diff.inside)
    others = [each for each in diff.rewrites if not each.is_renaming and not (held and each.what == ("graph",))]
    by = len({each.passes for each in others}) > 1
    if brief:
        yield from _brief(others, by)
    pictures = Pictures(diff.parts)
    for rewrite in () if brief else others:
        yield []
        yield from _rewrite(rewrite, by)
        lines = pictures.lines(rewrite)
        yield from _nodes(lines[:MOST], width)
        if len(lines) > MOST:
            yield [(f"{INDENT}  {ELLIPSIS} and {len(lines) - MOST} more nodes (--text has them all)", "dim")]
    for inside in diff.inside:
        yield []
        yield [(inside_text(inside), "bold")]
        narrower = None if width is None else width - len(INDENT)
        for line in _diff(inside.diff, narrower, brief):
            yield [(INDENT, ""), *line] if line else []


def _brief(rewrites: Sequence[Rewrite], by: bool) -> Iterator[list[Styled]]:
    """One line for each rewrite, and one for the layers where it is not."""
    if rewrites:
        yield []
    rows = [[each.often, ": ".join(filter(None, layers_text(each))), each.text] for each in rewrites]
    for rewrite, row in zip(rewrites, aligned(rows), strict=True):
        often, where, text = row
        yield [
            (f"{often}  {where}  ", ""),
            (text, "cyan"),
            ("".join(f"  {fact}" for fact in _facts(rewrite, by)), "dim"),
        ]
        for absent in rewrite.absent:
            yield [(f"{'':<{len(often)}}  {absent_text(absent)}", "yellow")]


def _facts(rewrite: Rewrite, by: bool) -> list[str]:
    facts = [f"provider: {', '.join(rewrite.providers)}"] if rewrite.providers else []
    facts += [f"by {', '.join(rewrite.passes)}"] if by and rewrite.passes else []
    facts += [f"{old} becomes {new}" for old, new in rewrite.types]
    return facts + change_texts(rewrite)


def _rewrite(rewrite: Rewrite, by: bool) -> Iterator[list[Styled]]:
    where, cls = layers_text(rewrite)
    shown = f"    (shown: {shown_text(rewrite)})" if rewrite.count > 1 else ""
    yield [(f"{rewrite.often}  {where}", "bold"), (f": {cls}" if cls else "", ""), (shown, "dim")]
    facts = _facts(rewrite, by)
    yield [(f"  {rewrite.text}", "cyan"), ("".join(f"    {fact}" for fact in facts), "")]
    for absent in rewrite.absent:
        yield [(f"  {absent_text(absent)}", "yellow")]


def _nodes(lines: Sequence[Line], width: int | None) -> Iterator[list[Styled]]:
    if width is not None and width < NARROW:
        yield from _stacked(lines, width)
        return
    half = None if width is None else (width - len(INDENT) - len(BETWEEN)) // 2 - 2
    left = _column([line.before for line in lines], lines, half)
    right = _column([line.after for line in lines], lines, half)
    edge = max((len(text) for text in left), default=0)
    for line, before, after in zip(lines, left, right, strict=True):
        marks, styles = MARKS[line.kind], STYLES[line.kind]
        yield [
            (INDENT, ""),
            (f"{marks[0] if before else ' '} {before:<{edge}}", styles[0]),
            (BETWEEN if after else BETWEEN.rstrip(), "dim"),
            (f"{marks[1]} {after}" if after else "", styles[1]),
        ]


def _stacked(lines: Sequence[Line], width: int) -> Iterator[list[Styled]]:
    """What was there above what is there, group by group."""
    room = width - len(INDENT) - 2
    olds = _column([line.before for line in lines], lines, room)
    news = _column([line.after for line in lines], lines, room)
    waiting: list[list[Styled]] = []
    for line, old, new in zip(lines, olds, news, strict=True):
        if line.kind == "around":
            yield from waiting
            waiting = []
            yield [(f"{INDENT}  {new or old}", "dim")]
            continue
        if old:
            yield [(f"{INDENT}- {old}", "red")]
        if new:
            waiting.append([(f"{INDENT}+ {new}", "green")])
        if line.kind == "changed":
            yield from waiting
            waiting = []
    yield from waiting


def _column(texts: Sequence[Text | None], lines: Sequence[Line], width: int | None) -> list[str]:
    """Nodes of one side with their types aligned; what stands around them is cut, and with a width everything."""
    core = [text for text, line in zip(texts, lines, strict=True) if text is not None and line.kind != "around"]
    types = min(max((len(text.type) for text in core), default=0), TYPE_COLUMN)
    longest = max((len(text.line) for text in core), default=0)
    room = max(longest, SHORTEST - types)
    if width is not None:
        room = min(room, width - types - 2)
    found: list[str] = []
    for text, line in zip(texts, lines, strict=True):
        if text is None:
            found.append("")
        elif line.kind == "around":
            found.append(excerpt(text.line, _parting(line), room + 2 + types))
        else:
            shown = text.line if width is None else excerpt(text.line, 0, room)
            full = f"{shown:<{room}}  {text.type}".rstrip()
            found.append(full if width is None else excerpt(full, 0, width))
    return found


def _parting(line: Line) -> int:
    """Where a node that stayed begins to read something else; 0 when it does not."""
    if line.before is None or line.after is None:
        return 0
    pairs = zip(line.before.right, line.after.right, strict=False)
    at = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
    return at + len(line.after.name) + len(" = ") if at else 0


def excerpt(text: str, at: int, room: int) -> str:
    """A text cut to so many characters, with what stands at a place still in it.

    >>> excerpt("relu = aten.relu(x)", 0, 12)
    'relu = aten…'
    >>> excerpt("mm = op(a, b, c, d, e, f, g, h=relu, i)", 30, 20)
    'mm = op(…, h=relu, …'
    """
    if len(text) <= room:
        return text
    head = text.find("(") + 1
    start = text.rfind(", ", 0, at) if at else -1
    if start <= head or at < room - 1:
        return text[: room - 1] + ELLIPSIS
    tail = text[:head] + ELLIPSIS + text[start:]
    return tail if len(tail) <= room else tail[: room - 1] + ELLIPSIS
