"""``cutaway.record``: what a user calls."""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import ContextDecorator, suppress
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cutaway.errors import UsageError
from cutaway.record.context import Host
from cutaway.record.filters import Filters, Globs
from cutaway.record.hooks import Hooks
from cutaway.record.limits import parse_bytes
from cutaway.record.recorder import Recorder
from cutaway.record.settings import Settings
from cutaway.record.writer import RUN_VARIABLE, claim_run

_active: list[tuple[Recorder, Hooks]] = []  # recordings are of the process: whatever compiles in it must find them


def active() -> list[tuple[Recorder, Hooks]]:
    """The recordings that are on now: what a compiler of our own tells its stages to."""
    return list(_active)


class Recording(ContextDecorator):
    """A recording that is on inside ``with`` (or while the decorated function runs). Made by :func:`record`."""

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self._settings = settings
        self._host = host
        self._running: list[tuple[Recorder, Hooks]] = []

    @property
    def path(self) -> Path:
        """The dump's root folder."""
        return self._settings.path

    def start(self) -> tuple[Recorder, Hooks]:
        """Switch recording on. What runs after this is recorded until :meth:`stop`."""
        recorder = Recorder(self._settings, self._host)
        hooks = Hooks(recorder)
        hooks.install()
        self._running.append((recorder, hooks))
        _active.append((recorder, hooks))
        alive = weakref.ref(recorder)  # what is registered for a fork stays registered

        def forked() -> None:
            known = alive()
            if known is not None:
                known.after_fork()

        os.register_at_fork(after_in_child=forked)
        return recorder, hooks

    def stop(self) -> None:
        """Switch the most recent :meth:`start` off, take every hook out of torch, and write the indexes."""
        recorder, hooks = self._running.pop()
        _active.remove((recorder, hooks))
        hooks.remove()
        try:
            recorder.close()
        except Exception as error:  # noqa: BLE001  (never end the run: a full disk at the very end)
            recorder.failed("close", error)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def record(
    path: str | os.PathLike[str],
    *,
    stages: Globs = None,
    passes: Globs = None,
    pieces: Globs = None,
    functions: Globs = None,
    max_bytes: int | None = None,
    save_inputs: int | str | None = None,
) -> Recording:
    """Record every ``torch.compile`` in this process, as a context manager or a decorator.

        with cutaway.record("dump/"):
            compiled(x)

    Each use writes a run of its own below ``path`` (``run_001``, ``run_002``, ...). Recording changes nothing of
    what is compiled and never ends the run: a path that cannot be written, or a disk that fills up, costs one
    warning.

    Args:
        path: the dump's root folder; made when the first graph is recorded.
        stages: globs over the names in ``cutaway.stages``; None for all.
        passes: globs over names of passes.
        pieces: globs over names of pieces (``piece_0*``).
        functions: globs over names of compilations or qualified names of functions.
        max_bytes: write no more files once they add up to this many bytes (events go on).
        save_inputs: keep the real inputs of each compiled graph at its first call, for ``cutaway replay``, in at most
            so much memory in all (``"256MB"``, or a number of bytes); weights are among them. None for not at all.

    Raises:
        UsageError: for a stage that does not exist, a ``max_bytes`` that is not positive, or a ``save_inputs`` that is
            no amount.
    """
    if not isinstance(path, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]  (users' mistakes)
        cure = 'write @cutaway.record("dump/") or with cutaway.record("dump/"):'
        raise UsageError(f"a dump cannot be written to {path!r}", "it is not a path", cure)
    wrong = max_bytes is not None and not isinstance(max_bytes, int)  # pyright: ignore[reportUnnecessaryIsInstance]
    if wrong or (max_bytes is not None and max_bytes <= 0):
        raise UsageError(f"max_bytes is {max_bytes!r}", "it is a number of bytes", "pass a positive number, or None")
    filters = Filters.of(stages, passes, pieces, functions)
    kept = None if save_inputs is None else parse_bytes(str(save_inputs), "save_inputs")
    return Recording(Settings(Path(path).absolute(), filters, max_bytes, kept))  # wherever the program goes meanwhile


@dataclass
class Process:
    """The recording of a whole process. ``adapter`` is the host's (vLLM's), once it has joined."""

    recorder: Recorder
    hooks: Hooks
    adapter: Any = None


_process: list[Process] = []


def record_process(path: str | os.PathLike[str], host: Host | None = None) -> Process:
    """Record this process until it ends, joining the run of the process that started it; a second call joins too.

    ``CUTAWAY_ONLY`` (see :meth:`Filters.parse`) and ``CUTAWAY_MAX_BYTES`` say which part; ``CUTAWAY_SAVE_INPUTS`` (such
    as ``256MB``) has the real inputs of compiled graphs kept, too.
    """
    if not _process:
        limit = _limit(os.environ.get("CUTAWAY_MAX_BYTES", ""))
        filters = Filters.parse(os.environ.get("CUTAWAY_ONLY", ""))
        inputs = os.environ.get("CUTAWAY_SAVE_INPUTS", "")
        kept = parse_bytes(inputs, "CUTAWAY_SAVE_INPUTS") if inputs else None
        recording = Recording(Settings(Path(path).absolute(), filters, limit, kept, share_run=True), host)
        _claim_run(Path(path).absolute())
        recorder, hooks = recording.start()
        _process.append(Process(recorder, hooks))
        atexit.register(recording.stop)
        util.register_after_fork(recording, _stop_at_end)
    return _process[0]


def _stop_at_end(recording: Recording) -> None:
    """A process that multiprocessing forked ends without ``atexit``: vLLM's engine does, on a GPU."""
    util.Finalize(recording, recording.stop, exitpriority=0)


def _claim_run(root: Path) -> None:
    """Name this run before the process starts others: those must find the name, or each would begin a run."""
    inherited = os.environ.get(RUN_VARIABLE)
    run = claim_run(root, share=True)
    if os.environ.get(RUN_VARIABLE) != inherited:
        atexit.register(_drop_empty, run, os.getpid())


def _drop_empty(run: Path, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(OSError):  # not empty: something was recorded
            run.rmdir()


def _limit(text: str) -> int | None:
    """``CUTAWAY_MAX_BYTES`` as a number; None when it is empty."""
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"CUTAWAY_MAX_BYTES is {text!r}", "it is a positive number of bytes", "for example 100000000")
    return int(text)
