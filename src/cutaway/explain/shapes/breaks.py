"""Graph breaks: where a capture stopped, and functions of which nothing was captured, as torch tells them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cutaway.dump.compilation import Compilation
from cutaway.dump.reader import Dump

_PLACE = re.compile(r"Graph break in user code at (?P<place>\S+:\d+)")
_FRAME = re.compile(r"frame skipped: (?P<function>\S+) \((?P<file>.*?) line (?P<line>\d+)\)")
_SKIPPED = ("Skipping the function and falling back to eager", "Skipping the frame and falling back to eager")


@dataclass(frozen=True)
class Break:
    """Where the capture of a function stopped.

    Attributes:
        place: `file:line`.
        reason: what torch could not trace.
        explanation, hint: torch's, the first of each.
    """

    place: str
    reason: str
    explanation: str
    hint: str


@dataclass(frozen=True)
class Uncaptured:
    """A function of which no graph was made.

    Attributes:
        function: its name; empty where torch does not say.
        place: `file:line` of the function; empty where torch does not say.
        skipped: all of it runs eagerly; else only what stands before the break, in which there was nothing to capture.
        at: the break.
    """

    function: str
    place: str
    skipped: bool
    at: Break


def breaks_of(compilation: Compilation) -> list[Break]:
    """Where the capture of a compilation stopped."""
    return [_read(reason) for reason in _reasons(compilation)]


def uncaptured(dump: Dump) -> list[Uncaptured]:
    """Functions of which nothing was captured, in the order in which torch gave them up; each once."""
    found = [
        Uncaptured(
            frame["function"] if frame else "",
            f"{frame['file']}:{frame['line']}" if frame else "",
            any(words in reason for words in _SKIPPED),
            _read(reason),
        )
        for reason in _reasons(dump)
        for frame in [_FRAME.search(reason)]
    ]
    return list(dict.fromkeys(found))


def _reasons(holder: Compilation | Dump) -> list[str]:
    return [str(metric.values.get("reason", "")) for metric in holder.metrics if metric.kind == "graph_break"]


def _read(text: str) -> Break:
    place = _PLACE.search(text)
    lines = [line.strip() for line in text.splitlines()]
    reason = _after(lines, "Graph Break Reason:")
    if reason.endswith(":"):  # what was called is on a line of its own
        rest = lines[next(i for i, line in enumerate(lines) if line.startswith("Graph Break Reason:")) + 1 :]
        reason = next((line for line in rest if line and not line.startswith("Explanation:")), reason)
    first = reason or (lines[0] if lines else "")
    return Break(place["place"] if place else "", first, _after(lines, "Explanation:"), _after(lines, "Hint:"))


def _after(lines: Sequence[str], label: str) -> str:
    return next((line.removeprefix(label).strip() for line in lines if line.startswith(label)), "")
