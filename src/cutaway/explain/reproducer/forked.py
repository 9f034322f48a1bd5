"""What may crash, called in a copy of this process: what a plugin has changed in this one is changed there, too."""

from __future__ import annotations

import faulthandler
import math
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
_NOT_MADE, _RAISED = 2, 3


def crashes(make: Callable[[], Callable[[], object]], limit: float = LIMIT) -> bool:
    """Whether a function crashes in a copy of this process: whether a signal ends it, or an exception.

    The copy has this thread alone: its operators use one, and Inductor compiles in it. It cannot use a GPU that this
    process uses, and prints nothing.

    Args:
        make: makes the function there; an exception of this is no crash.
        limit: seconds after which the copy is stopped; that is none either.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn where there are other threads: these are not used
        child = os.fork()
    return _crashed(child, limit) if child else _copied(make, limit)


def _copied(make: Callable[[], Callable[[], object]], limit: float) -> NoReturn:
    """The copy: nothing of the process that it is of may be ended in it."""
    code = _NOT_MADE
    try:
        _prepare(limit)
        function = make()
        code = _RAISED
        function()
        code = 0
    finally:
        _leave(code)


_leave: Callable[[int], NoReturn] = getattr(os, "_exit")  # noqa: B009  (it is public, whatever its name)


def _prepare(limit: float) -> None:
    os.setsid()  # with whatever it starts it can be stopped
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(limit) + 5)  # should nobody be left who stops it
    faulthandler.disable()  # it writes into a file of this process's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    torch.set_num_threads(1)  # OpenMP's threads are not in a copy, and it would wait for them
    torch_internals.compile_in_this_thread()


def _crashed(child: int, limit: float) -> bool:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == _RAISED
        time.sleep(_PAUSE)
    for stop in (os.killpg, os.kill):
        with suppress(OSError):
            stop(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
