"""Raw graphs and generated code, with the lines that open something."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from cutaway.dump import Code, Snapshot
from cutaway.dump.snapshot import announced
from cutaway.errors import SelectorError, UsageError
from cutaway.web.data import shapes
from cutaway.web.data.process import Process
from cutaway.web.data.words import cut

LONGEST = 8_000_000
"""Characters of a file that a page is given."""
Language = Literal["python", "cpp", "text"]
_PIECE = re.compile(r"^\s+# (piece_\d{1,9})\b")
_SUFFIXES: dict[str, Language] = {
    **dict.fromkeys(("py",), "python"),
    **dict.fromkeys(("cpp", "cc", "c", "h", "cu", "cuh"), "cpp"),
}


def text(process: Process, kind: str, selector: str) -> shapes.Text:
    """A file of a step.

    Args:
        process: what was recorded.
        kind: "raw" (a graph as Python) or "code" (generated).
        selector: the step, or a part of its selector; for a graph's code, the graph.

    Raises:
        SelectorError: there is no such step, or it has no such file.
        DumpError: the file cannot be read.
        UsageError: there is no such kind.
    """
    if kind == "raw":
        snapshot = process.snapshot(selector)
        return _text(snapshot, announced(snapshot.owner, "raw").path, snapshot.raw, [])
    if kind != "code":
        raise UsageError(f"there is no text {cut(kind)!r}", "there are raw and code")
    found = process.find(selector)
    if isinstance(found, Snapshot):
        found = process.dump.code_of(found)
    if not isinstance(found, Code):
        raise SelectorError(f"{found.selector!r} has no code", "it is a pass")
    content = found.text
    return _text(found, announced(found.owner, "code").path, content, list(_marks(process, found, content)))


def _text(step: Snapshot | Code, path: str, content: str, marks: list[shapes.TextMark]) -> shapes.Text:
    language: Language = _SUFFIXES.get(path.rpartition(".")[2], "text")
    return shapes.Text(step.selector, language, path, cut(content, LONGEST), marks)


def _marks(process: Process, code: Code, content: str) -> Iterator[shapes.TextMark]:
    if code.kind == "output_code":
        for call in process.calls.of_code(code):
            for line in call.lines:
                kernel = call.kernel_code
                selector = kernel.selector if kernel is not None else None
                yield shapes.TextMark(line, line, "kernel", call.name, selector, list(call.nodes))
    elif code.kind == "execution_code":
        yield from _pieces(process, code, content)


def _pieces(process: Process, code: Code, content: str) -> Iterator[shapes.TextMark]:
    """Comments that name a piece, each with the call below it."""
    first: dict[str, str] = {}
    for snapshot in process.compilation(code.compilation or "").snapshots:
        if snapshot.piece is not None:
            first.setdefault(snapshot.piece, snapshot.selector)
    for number, line in enumerate(content.splitlines(), 1):
        match = _PIECE.match(line)
        if match is not None:
            yield shapes.TextMark(number, number + 1, "piece", match[1], first.get(match[1]), [])
