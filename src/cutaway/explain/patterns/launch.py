"""Starts the child that holds patterns against graphs, and reads what it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from cutaway.errors import ExplainError
from cutaway.explain.patterns.job import Answer, Job

LIMIT = 300.0
"""Seconds after which the child is stopped."""

_OURS = ("CUTAWAY", "VLLM_DEBUG_DUMP_PATH", "TORCH_TRACE", "TORCH_LOGS", "TORCHINDUCTOR_PATTERN_MATCH_DEBUG")
_LAST_LINES = 30


def launch(job: Job, limit: float = LIMIT) -> Answer:
    """Do a job in a process of its own.

    Args:
        job: what to do.
        limit: in seconds.

    Raises:
        ExplainError: it cannot be done, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-why-") as folder:
        asked, answered, said = (Path(folder) / name for name in ("job.json", "answer.json", "output.txt"))
        asked.write_bytes(msgspec.json.encode(job))
        with said.open("wb") as output:
            code = _run(
                [sys.executable, "-m", "cutaway.explain.patterns.child", str(asked), str(answered)],
                output.fileno(),
                limit,
            )
        printed = "\n".join(said.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])
        if code is None:
            cure = "name fewer graphs with --at, or give more time with --timeout"
            raise ExplainError(f"{job.pattern} took longer than {limit:g} seconds, and was stopped", "", cure, printed)
        try:
            answer = msgspec.json.decode(answered.read_bytes(), type=Answer)
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            what = f"the process that holds {job.pattern} against the graphs ended before it had answered"
            raise ExplainError(what, how, "", printed) from error
    if answer.problem is not None:
        what, why, cure = answer.problem
        raise ExplainError(what, why, cure, answer.details)
    return answer


def _run(command: list[str], output: int, limit: float) -> int | None:
    """The exit code; None when it was stopped."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
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
