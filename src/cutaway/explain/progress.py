"""What a search for a fault tells while it goes on: lines, or a display on a terminal (`progress_live.py`)."""

from __future__ import annotations

import time
from importlib import import_module
from types import TracebackType
from typing import Protocol, Self, TextIO

from cutaway.explain.budget import Budget


class Progress(Protocol):
    """Told of every step.

    Attributes:
        known: what was learnt, in its order.
    """

    known: list[str]

    def begin(self, step: str, about: float | None = None) -> None:
        """A step begins, such as a trial.

        Args:
            step: in words: "piece_02 as its eager graph".
            about: seconds that it will take, where that is known.
        """
        ...

    def end(self, result: str, is_fault: bool | None = None) -> None:
        """The step is over. `is_fault`: whether the fault was there, None where that was not the question."""
        ...

    def learn(self, finding: str) -> None:
        """Something is known now that stays true when the search is interrupted: one sentence."""
        ...

    def say(self, text: str) -> None:
        """Something that the user should know, and that is no finding."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


SEEN = {True: "fault", False: "right", None: "-"}
"""Whether the fault was there, in a word."""


def in_a_line(text: str) -> str:
    """A text of several lines as one."""
    return " · ".join(line.strip() for line in text.splitlines() if line.strip())


class Lines:
    """A line when a step begins, and one when it is over.

    Args:
        stream: where to; None for nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.known: list[str] = []
        self._since = time.monotonic()

    def begin(self, step: str, about: float | None = None) -> None:
        """See `Progress`."""
        self._since = time.monotonic()
        self._write(f"{step} ..." if about is None else f"{step} ... (about {about:.0f} s)")

    def end(self, result: str, is_fault: bool | None = None) -> None:
        """See `Progress`."""
        self._write(f"  {SEEN[is_fault]}: {in_a_line(result)} ({time.monotonic() - self._since:.1f} s)")

    def learn(self, finding: str) -> None:
        """See `Progress`."""
        self.known.append(finding)
        self._write(f"known: {finding}")

    def say(self, text: str) -> None:
        """See `Progress`."""
        self._write(f"note: {text}")

    def _write(self, text: str) -> None:
        if self.stream is not None:
            self.stream.write(f"isolate: {text}\n")
            self.stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def progress_on(stream: TextIO, budget: Budget) -> Progress:
    """The display on a terminal, lines elsewhere."""
    if not stream.isatty():
        return Lines(stream)
    return import_module("cutaway.explain.progress_live").Display(stream, budget)  # rich is not needed elsewhere
