"""Runs a command and leaves nothing of it running: started as a file of its own, with the standard library alone.

    python keeper.py -- python script.py

The command is in a session of its own. When it ends, when standard input closes (whoever started the keeper is gone,
killed perhaps), or when the keeper is told to stop, every process that descends from it is killed: its group, and those
that left the group, which come to the keeper when their parents die (``PR_SET_CHILD_SUBREAPER``).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in <linux/prctl.h>
_PATIENCE = 5.0


def main() -> int:
    """The command's exit code; 128 + the signal that ended it."""
    with suppress(OSError, AttributeError):  # not Linux: the group is what can be killed
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    command = sys.argv[sys.argv.index("--") + 1 :]
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror or error}", file=sys.stderr)
        return 127
    try:
        code = _wait(child)
    finally:
        _end(child)
    return code if code >= 0 else 128 - code


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Until the child ends; -SIGKILL when standard input closes first."""
    while child.poll() is None:
        if select.select([sys.stdin], [], [], 0.05)[0] and not os.read(0, 1024):
            return -signal.SIGKILL
    return child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill all that is left of it, and wait until it is gone."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    until = time.monotonic() + _PATIENCE
    while (left := _children()) and time.monotonic() < until:
        for one in left:
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        _reap()
        time.sleep(0.01)


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> list[int]:
    """Processes whose parent this one is, the dead ones among them that nobody waited for."""
    _reap()
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid():
                found.append(int(stat.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
