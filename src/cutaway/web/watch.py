"""Watching a dump while the compile goes on."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
from watchfiles import Change, awatch

from cutaway.dump.locate import MANIFEST

EVERY = 2.0
"""Seconds after which the manifests are looked at anyway: not every file system says when a file changes."""
QUIET = 50
"""Milliseconds for which nothing must change before it is told."""


async def changes(path: Path) -> AsyncIterator[None]:
    """Yields when something may have changed, at least every `EVERY` seconds; ends when it is cancelled.

    Args:
        path: the dump's folder; it may go away, and come again.
    """
    while True:
        try:
            watched = awatch(
                path,
                watch_filter=_matters,
                debounce=1600,
                step=QUIET,
                rust_timeout=int(1000 * EVERY),
                yield_on_timeout=True,
                stop_event=anyio.Event(),
            )
            async for _ in watched:
                yield
        except (OSError, RuntimeError):  # the folder went away, or nothing can be watched here
            pass
        yield
        await anyio.sleep(EVERY)


def _matters(_: Change, path: str) -> bool:
    return path.endswith(MANIFEST)


class Listeners:
    """Those who want to be told."""

    def __init__(self) -> None:
        self._waiting: set[anyio.Event] = set()
        self.count = 0
        self.version = 0
        self.ended = False

    def tell(self) -> None:
        """Wake all of them."""
        self.version += 1
        self._wake()

    def end(self) -> None:
        """Let all of them go."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
        self._waiting.clear()

    async def wait(self, seen: int, seconds: float) -> int:
        """Wait until there is another version than `seen`, but not longer than some seconds; returns the version."""
        if self.version == seen and not self.ended:
            event = anyio.Event()
            self._waiting.add(event)
            with anyio.move_on_after(seconds):
                await event.wait()
            self._waiting.discard(event)
        return self.version


async def follow(source: AsyncIterator[None], look: Callable[[], bool], listeners: Listeners) -> None:
    """Look whenever something may have changed, in a thread, and tell the listeners when it has."""
    async for _ in source:
        try:
            changed = await anyio.to_thread.run_sync(look)
        except Exception:  # noqa: BLE001  (our bug: the server must go on)
            traceback.print_exc(file=sys.stderr)
            changed = False
        if changed:
            listeners.tell()
