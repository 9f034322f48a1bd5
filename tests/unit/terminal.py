"""Runs a command on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def on_a_terminal(*arguments: str, columns: int = 100) -> str:
    """A command's output when standard output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cutaway.cli", *arguments],
        stdout=theirs,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", "COLUMNS": str(columns)},
    ) as child:
        os.close(theirs)
        parts = list[bytes]()
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert child.returncode == 0
    return b"".join(parts).decode()
