"""What the hands of a trial wrote, read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.explain.switches import INSIDE, Place
from cutaway.explain.within.journal import CRASHES, read_journal

Event = dict[str, Any]

DETAILS = ("code", "kept")
"""These tell more of the call that they stand after."""


@dataclass(frozen=True)
class Seen:
    """What the hands saw.

    Attributes:
        folder: they wrote to.
        events: in order, process by process.
    """

    folder: Path
    events: tuple[Event, ...]

    @classmethod
    def of(cls, trial: Path) -> Seen:
        """Read the folder of a trial."""
        return cls(trial / INSIDE, tuple(read_journal(trial / INSIDE)))

    def all(self, kind: str) -> Iterator[Event]:
        """The events of a kind."""
        return (event for event in self.events if event["event"] == kind)

    def first(self, kind: str) -> Event | None:
        """The first event of a kind."""
        return next(self.all(kind), None)

    @property
    def compared(self) -> int:
        """How many pieces in a range were held against their eager graphs."""
        return len({(event["piece"], event["range"]) for event in self.events if event["event"] in ("same", "parted")})

    def places(self, kind: str) -> tuple[Place, ...]:
        """The pieces and ranges that events of a kind are about, each once."""
        return tuple(dict.fromkeys(Place(event["piece"] or "", event["range"] or "") for event in self.all(kind)))

    def last(self) -> Event | None:
        """What the process that crashed was at: the last line of the one that wrote most."""
        by_process: dict[str, list[Event]] = {}
        for event in self.events:
            by_process.setdefault(event["process"], []).append(event)
        most = max(by_process.values(), key=len, default=[])
        return next((event for event in reversed(most) if event["event"] not in DETAILS), None)

    def stack(self) -> str:
        """The Python stack that a fatal signal left; empty when there is none."""
        texts = [path.read_text("utf-8", "replace") for path in sorted(self.folder.glob(CRASHES))]
        return next((text for text in texts if text.strip()), "")
