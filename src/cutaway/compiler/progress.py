"""A progress bar on a terminal: pieces x ranges, compiled or taken from the cache."""

from __future__ import annotations

import sys
from time import monotonic
from typing import IO, Protocol

_SLOW = 1.0  # seconds: what is over sooner shows nothing
_WIDTH = 24


class _Event(Protocol):
    @property
    def kind(self) -> str: ...


class Progress:
    """Counts what is built; draws one line on a terminal and nothing anywhere else.

    Args:
        wanted: whether the configuration asks for it.
        stream: where to; standard error by default.
    """

    def __init__(self, wanted: bool, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._on = wanted and self._stream.isatty()
        self.total = 0
        self.compiled = 0
        self.cached = 0
        self._started = 0.0

    def begin(self, total: int) -> None:
        """There is so much to do."""
        self.total, self.compiled, self.cached = total, 0, 0
        self._started = monotonic()

    def advance(self, event: _Event) -> None:
        """One is done: loaded from the cache, or compiled."""
        if event.kind == "load":
            self.cached += 1
        elif event.kind in ("store", "built"):
            self.compiled += 1
        else:
            return
        if self._on and monotonic() - self._started > _SLOW:
            self._draw()

    def _draw(self) -> None:
        done = self.compiled + self.cached
        filled = _WIDTH * done // max(self.total, 1)
        bar = "█" * filled + "·" * (_WIDTH - filled)
        self._stream.write(f"\rcompiling {bar} {done}/{self.total}: {self.compiled} compiled, {self.cached} cached ")
        self._stream.flush()

    def end(self) -> None:
        """All is done: the line goes."""
        if self._on:
            self._stream.write("\r\033[K")
            self._stream.flush()
