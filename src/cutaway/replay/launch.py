"""Starts the child that runs a dump's code, and reads what it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from cutaway.errors import ReplayError
from cutaway.replay.job import Answer, Job, Problem

LIMIT = 600.0
"""Seconds after which a replay is stopped."""

_OURS = ("CUTAWAY", "VLLM_DEBUG_DUMP_PATH", "TORCH_TRACE", "TORCH_LOGS")
_LAST_LINES = 30


def launch(job: Job, limit: float = LIMIT) -> Answer:
    """Do a job in a process of its own.

    Args:
        job: what to do.
        limit: in seconds.

    Raises:
        ReplayError: it cannot be done, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-replay-") as folder:
        asked, answered, said = (Path(folder) / name for name in ("job.json", "answer.json", "output.txt"))
        asked.write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "cutaway.replay.child", str(asked), str(answered)]
        with said.open("wb") as output:
            code = _run(command, output.fileno(), limit)
        printed = "\n".join(said.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])
        if code is None:
            raise ReplayError(
                f"the replay took longer than {limit:g} seconds, and was stopped",
                "large sizes, slow operators or a graph that never ends",
                "give smaller sizes with --size, or more time with --timeout",
                printed,
            )
        try:
            answer = msgspec.json.decode(answered.read_bytes(), type=Answer)
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            cure = "run the raw file by itself with python to see more"
            raise ReplayError("the process that replays ended before it had answered", how, cure, printed) from error
    if answer.problem is not None:
        raise _explained(answer.problem, job, printed)
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


def _explained(problem: Problem, job: Job, printed: str) -> ReplayError:
    title = job.graphs[problem.graph].title if problem.graph is not None else "the graph"
    what = {
        "load": f"{title} cannot be loaded",
        "inputs": f"no inputs can be made for {title}",
        "compile": f"{title} cannot be compiled again",
        "run": f"{title} cannot be run",
    }.get(problem.step, f"{title} cannot be run")
    if problem.node is not None:
        what += f": the node {problem.node} fails"
    cure = _CURES.get(problem.error.partition(":")[0], "")
    return ReplayError(what, problem.error, cure, problem.traceback or printed)


_CURES = {
    "ModuleNotFoundError": "install it, or put its folder on PYTHONPATH: the file names the modules it needs",
    "ImportError": "install what it needs, or put its folder on PYTHONPATH",
    "AttributeError": "an operator of the engine may be missing here: run where the engine is installed",
    "OutOfMemoryError": "give smaller sizes with --size",
    "MemoryError": "give smaller sizes with --size",
}
