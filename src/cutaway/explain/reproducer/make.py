"""Asks for a reproducer, and runs it: one that does not show the fault is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from cutaway.errors import ReplayError
from cutaway.explain.reproducer.job import Made, Request

_OURS = ("CUTAWAY", "VLLM_DEBUG_DUMP_PATH", "TORCH_TRACE", "TORCH_LOGS")
_SHOWS = 1
CODE_ALONE = "--code"
"""Argument of a reproducer with generated code: the graph is not compiled afresh."""
_FAILED = "Traceback (most recent call last)"


def make_reproducer(request: Request, limit: float = 120.0) -> Made:
    """Shrink what shows a fault, write it as one file, and see that it shows the fault in a process of its own.

    Args:
        request: the graphs, their inputs and where to write.
        limit: seconds for all of it.

    Returns:
        What was made.

    Raises:
        ReplayError: none can be made, or it shows nothing.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-reproducer-") as folder:
        asked, answered = Path(folder) / "request.json", Path(folder) / "made.json"
        asked.write_bytes(msgspec.json.encode(request))
        command = [sys.executable, "-m", "cutaway.explain.reproducer.child", str(asked), str(answered)]
        code, said = _run(command, limit, {"TORCHINDUCTOR_CACHE_DIR": folder})
        try:
            made = msgspec.json.decode(answered.read_bytes(), type=Made)
        except (OSError, msgspec.DecodeError) as error:
            how = "it took too long" if code is None else f"it ended with {code}"
            raise ReplayError("no reproducer can be made", how, details=said) from error
    return checked(made, limit)


def checked(made: Made, limit: float = 120.0) -> Made:
    """What was made, once its file has shown the fault in a process of its own.

    Raises:
        ReplayError: there is none, or it shows nothing.
    """
    if not made.path:
        raise ReplayError("no reproducer can be made", made.why)
    if made.is_shown:
        return made
    code, said = run_reproducer(Path(made.path), limit, CODE_ALONE)
    if code != _SHOWS or _FAILED in said:
        Path(made.path).unlink(missing_ok=True)
        raise ReplayError("the reproducer does not show the fault in a process of its own", details=said)
    return made


def run_reproducer(path: Path, limit: float = 120.0, *arguments: str) -> tuple[int | None, str]:
    """Run a reproducer in a fresh process, with caches of its own.

    Args:
        path: the file.
        limit: seconds.
        arguments: of it, such as `CODE_ALONE`.

    Returns:
        Its exit code (1 when the fault shows; None when it took too long), and what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-reproducer-") as folder:
        return _run([sys.executable, str(path), *arguments], limit, {"TORCHINDUCTOR_CACHE_DIR": folder})


def _run(command: list[str], limit: float, more: Mapping[str, str] | None = None) -> tuple[int | None, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | dict(more or {})
    child = subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=limit)
        return child.returncode, said[-4000:]
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        with suppress(OSError):  # it, and whatever it has started
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
