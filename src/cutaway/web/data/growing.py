"""Whether a process still records: what is said of it while more may come."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from cutaway.dump.locate import MANIFEST
from cutaway.dump.schema import Run

RECENT = 60.0
"""Seconds in which a process writes something, unless it is on this machine and can be seen to live."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TAIL = 4096
_LINE = 1 << 16


class _End(msgspec.Struct):
    """What tells the end of a recording from that of a compilation."""

    event: str = ""
    compilation: str | None = None


def is_growing(process: Path) -> bool:
    """Whether a process has not ended its recording, and either lives or wrote something a moment ago.

    Args:
        process: its folder in the dump.
    """
    manifest = process / MANIFEST
    try:
        written = manifest.stat().st_mtime
        with manifest.open("rb") as file:
            first = file.readline(_LINE)
            file.seek(max(0, manifest.stat().st_size - _TAIL))
            last = file.read(_TAIL).rstrip(b"\n").rpartition(b"\n")[2]
    except OSError:
        return False
    with suppress(*_UNREADABLE):
        end = msgspec.json.decode(last, type=_End)
        if end.event == "end" and end.compilation is None:
            return False
    if time.time() - written < RECENT:
        return True
    with suppress(*_UNREADABLE):
        run = msgspec.json.decode(first, type=Run)
        return _lives(run.pid, run.time)
    return False


def _lives(pid: int, since: float) -> bool:
    """Whether there is a process of this number on this machine that was there at a time already."""
    if not 0 < pid < 1 << 31:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except OSError:
        return False
    began = _began(pid)
    return began is None or began <= since + 1


def _began(pid: int) -> float | None:
    """When a process was started, in seconds since the epoch; None where the system does not say."""
    try:
        # The name in the second column may hold anything; proc(5) has the columns, 22 is the start in ticks after boot.
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        lines = Path("/proc/stat").read_text(encoding="ascii", errors="replace").splitlines()
        boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return boot + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
