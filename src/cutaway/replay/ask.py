"""Asks a module of ours in a process of its own: a job and an answer as JSON; nothing that it started outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

A = TypeVar("A")

_NOT_FOR_THE_CHILD = (
    "CUTAWAY", "VLLM_DEBUG_DUMP_PATH", "TORCH_TRACE", "TORCH_LOGS", "TORCHINDUCTOR_PATTERN_MATCH_DEBUG"
)  # fmt: skip
_LAST_LINES = 30


@dataclass(frozen=True)
class Asked(Generic[A]):
    """What came of it.

    Attributes:
        answer: what the child wrote; None when it did not.
        stopped: whether it took too long.
        printed: the last lines of what it printed.
        why: how it ended, and what is amiss with its answer, when there is none.
        error: what was raised when its answer was read.
    """

    answer: A | None
    stopped: bool
    printed: str
    why: str = ""
    error: Exception | None = None


def ask(module: str, job: object, answer: type[A], limit: float) -> Asked[A]:
    """Run ``python -m MODULE JOB.json ANSWER.json``, without the variables that record or trace.

    Args:
        module: that reads the job and writes the answer.
        job: what to do; anything that msgspec encodes.
        answer: the type of what it answers.
        limit: seconds after which it is stopped.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-ask-") as folder:
        asked, answered, said = (Path(folder) / name for name in ("job.json", "answer.json", "output.txt"))
        asked.write_bytes(msgspec.json.encode(job))
        with said.open("wb") as output:
            code = _run([sys.executable, "-m", module, str(asked), str(answered)], output.fileno(), limit)
        printed = "\n".join(said.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])
        if code is None:
            return Asked(None, True, printed)
        try:
            return Asked(msgspec.json.decode(answered.read_bytes(), type=answer), False, printed)
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            return Asked(None, False, printed, how, error)


def _run(command: list[str], output: int, limit: float) -> int | None:
    """The exit code; None when it was stopped."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_THE_CHILD)}
    child = subprocess.Popen(
        command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(OSError):  # it, and whatever it has started
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
