"""What the hands see, as lines of JSON; a line is with the system before what it announces is tried.

So the last line of a process that crashed says what it was at.
"""

from __future__ import annotations

import faulthandler
import json
import os
import threading
from pathlib import Path
from typing import Any, TextIO

CRASHES = "crash.*.txt"
LINES = "journal.*.jsonl"


class Journal:
    """Writes for one process, and for those that fork from it.

    Args:
        folder: where to; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None
        self._owner = 0
        self._crashes: TextIO | None = None
        self._lock = threading.Lock()

    def write(self, event: str, **facts: Any) -> None:
        """Add a line. What cannot be written is let go: a trial goes on whatever the disk does."""
        line = json.dumps({"event": event, **facts}, default=repr) + "\n"
        try:
            with self._lock:
                os.write(self._opened(), line.encode())
        except OSError:
            pass

    def catch_crashes(self) -> None:
        """Let a fatal signal leave the Python stack in a file, unless somebody else has asked for it elsewhere."""
        if faulthandler.is_enabled():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._crashes = (self.folder / f"crash.{os.getpid()}.txt").open("w")
        faulthandler.enable(self._crashes)

    def _opened(self) -> int:
        if self._file is None or self._owner != os.getpid():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._owner = os.getpid()
            path = self.folder / f"journal.{self._owner}.jsonl"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self._file


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """All that the processes of a trial wrote, process by process; a torn last line is left out."""
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob(LINES)):
        for line in path.read_text("utf-8", "replace").splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            if isinstance(one, dict) and "event" in one:
                found.append({"process": path.name, **one})
    return found
