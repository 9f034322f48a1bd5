"""An outline as aligned lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.record.layers.outline import Entry, outline
from cutaway.record.layers.rows import Graph

LEFT_COLUMN = 78
TYPE_COLUMN = 32

Line = tuple[str, str, str]
"""The left part with its indentation, the type, and where the node comes from."""


def graph_lines(graph: Graph, fold: bool) -> list[Line]:
    """The lines of a graph: inputs, layers, output, then the graphs inside it.

    Args:
        graph: what to print.
        fold: show identical layers and identical inner graphs once, and weights in one line.
    """
    return [_line(entry) for entry in outline(graph, fold)]


def _line(entry: Entry) -> Line:
    """A mark stands in the two columns left of the text; a node has room for one even where it has none."""
    mark = f"{entry.mark} " if entry.mark else ""
    least = 2 if entry.mark or entry.kind == "node" else 0
    left = f"{mark:>{max(2 * entry.depth, least)}}{entry.text}"
    row = entry.row
    if row is None or entry.kind == "note":
        return (left, entry.type, "")
    provider = f"provider: {row.provider}" if row.provider else ""
    source = row.source if row.op != "placeholder" else ""
    return (left, entry.type, "    ".join(part for part in (source, provider) if part))


def columns(lines: Sequence[Line]) -> list[str]:
    """Align types and sources; a part that is longer than its column pushes the rest to the right."""
    left_width = _width([len(left) for left, type_, right in lines if type_ or right], LEFT_COLUMN)
    type_width = _width([len(type_) for _, type_, right in lines if right], TYPE_COLUMN)
    return [
        f"{left:<{left_width}}  {type_:<{type_width}}  {right}".rstrip() if type_ or right else left
        for left, type_, right in lines
    ]


def _width(lengths: list[int], most: int) -> int:
    """Wide enough for nine parts in ten: one long line does not spread out all the others."""
    return min(sorted(lengths)[len(lengths) * 9 // 10], most) if lengths else 0
