"""Work that may end its process, done in a copy of this one: what is changed in this process is changed there, too."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import torch

from cutaway import torch_internals

LIMIT = 60.0
_PAUSE = 0.02


def ends_process(work: Callable[[], object], limit: float = LIMIT) -> bool:
    """Whether a signal ends a copy of this process that does some work.

    The copy has this thread alone: its operators use one, and Inductor compiles in it. It cannot use a GPU that this
    process uses, and prints nothing.

    Args:
        work: what it does; an exception is no signal.
        limit: seconds after which it is stopped; that is none either.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn where there are other threads: these are not used
        child = os.fork()
    return _signalled(child, limit) if child else _copied(work)


def _copied(work: Callable[[], object]) -> NoReturn:
    """The copy: nothing of the process that it is of may be ended in it."""
    code = 1
    try:
        _prepare()
        work()
        code = 0
    finally:
        os._exit(code)  # pyright: ignore[reportPrivateUsage]  (it is public, whatever its name)


def _prepare() -> None:
    os.setsid()  # with whatever it starts it can be stopped
    faulthandler.disable()  # it writes into a file of this process's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    torch.set_num_threads(1)  # OpenMP's threads are not in a copy, and it would wait for them
    torch_internals.compile_in_this_thread()


def _signalled(child: int, limit: float) -> bool:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WIFSIGNALED(status)
        time.sleep(_PAUSE)
    for stop in (os.killpg, os.kill):
        with suppress(OSError):
            stop(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
