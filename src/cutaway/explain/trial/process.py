"""Runs a command in a fresh process, with a limit, and writes down what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_KEEPER = Path(__file__).with_name("keeper.py")
_PATIENCE = 10.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, 128 + the number of a signal; None when it was stopped at the limit.
        seconds: how long it took.
        signal: name of the signal that ended it, or empty.
    """

    code: int | None
    seconds: float

    @property
    def signal(self) -> str:
        if self.code is None or self.code <= 128:
            return ""
        try:
            return signal.Signals(self.code - 128).name
        except ValueError:
            return ""


def run(
    command: Sequence[str], environment: Mapping[str, str], log: Path, limit: float | None, folder: Path | None = None
) -> Ended:
    """Run a command to its end; nothing that it started outlives it, or this process.

    Args:
        command: the program and its arguments.
        environment: all of its variables.
        log: where what it prints goes.
        limit: seconds after which it is stopped; None for never.
        folder: where it runs; None for here.
    """
    started = time.monotonic()
    keeper = [sys.executable, "-I", "-S", str(_KEEPER), "--", *command]
    with log.open("wb") as output:
        # In a session of its own, so that Ctrl-C at the terminal reaches us alone, who then say what is known.
        child = subprocess.Popen(
            keeper,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _stop(child)
    return Ended(code, time.monotonic() - started)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Close the keeper's input: it kills what it started, and ends."""
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def last_lines(log: Path, count: int = 12) -> str:
    """The end of what a command printed, without empty lines."""
    try:
        text = log.read_text("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
