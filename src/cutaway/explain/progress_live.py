"""The display of a search on a terminal: a row a step, the one that goes on with its time, what is known below."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cutaway.explain.budget import Budget
from cutaway.explain.progress import SEEN, in_a_line

_STYLES = {True: "bold red", False: "green", None: "dim"}
_MOST_ROWS = 24


@dataclass
class _Step:
    name: str
    about: float | None
    since: float
    seconds: float | None = None
    is_fault: bool | None = None
    result: str = ""


class Display:
    """Steps as rows that grow; see `Progress`.

    Args:
        stream: the terminal.
        budget: whose remaining time is shown.
    """

    def __init__(self, stream: TextIO, budget: Budget) -> None:
        self.budget = budget
        self.known: list[str] = []
        self._steps: list[_Step] = []
        self._notes: list[str] = []
        self._spinner = Spinner("dots")
        self._live = Live(
            console=Console(file=stream, highlight=False), get_renderable=self._render, refresh_per_second=5
        )

    def begin(self, step: str, about: float | None = None) -> None:
        """See `Progress`."""
        self._steps.append(_Step(step, about, time.monotonic()))

    def end(self, result: str, is_fault: bool | None = None) -> None:
        """See `Progress`."""
        if self._steps:
            step = self._steps[-1]
            step.seconds = time.monotonic() - step.since
            step.is_fault, step.result = is_fault, in_a_line(result)

    def learn(self, finding: str) -> None:
        """See `Progress`."""
        self.known.append(finding)

    def say(self, text: str) -> None:
        """See `Progress`."""
        self._notes.append(text)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(width=6)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
        for step in self._steps[-_MOST_ROWS:]:
            table.add_row(*self._row(step))
        parts: list[RenderableType] = [table]
        parts += [Text(f"note: {note}", "dim") for note in self._notes]
        parts += [Text(f"known: {fact}", "bold") for fact in self.known[-3:]]
        parts.append(Text(self._clock(), "dim"))
        return Group(*parts)

    def _row(self, step: _Step) -> tuple[RenderableType, ...]:
        if step.seconds is None:
            gone = time.monotonic() - step.since
            about = "" if step.about is None else f" of about {step.about:.0f} s"
            return Text(step.name), self._spinner, f"{gone:.0f} s{about}", ""
        seen = Text(SEEN[step.is_fault], _STYLES[step.is_fault])
        return Text(step.name), seen, f"{step.seconds:.1f} s", Text(step.result, "dim" if not step.is_fault else "")

    def _clock(self) -> str:
        spent = f"{self.budget.spent / 60:.1f} min"
        if self.budget.limit is None:
            return f"{spent} · Ctrl-C tells what is known"
        return f"{spent} of {self.budget.limit / 60:g} · Ctrl-C tells what is known"
