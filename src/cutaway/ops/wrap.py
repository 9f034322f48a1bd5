"""Whether a call of an op goes through torch's dispatcher, or straight to the chosen implementation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator


class _TorchWrap(threading.local):
    """The switch. A thread-local, not a ``ContextVar``: Dynamo can trace reading it, and guards on what it read."""

    scoped: bool | None = None


class _Default:
    on = True


SCOPE = _TorchWrap()
DEFAULT = _Default()


def set_default_torch_wrap(enable: bool = True) -> None:
    """Set for the whole process whether ops are called through torch.

    Args:
        enable: True keeps an op whole under ``torch.compile``, for a lowering to choose later; False lets Dynamo
            trace the implementation that is chosen now, and saves torch's dispatcher in eager calls.
    """
    DEFAULT.on = enable


@contextlib.contextmanager
def enable_torch_wrap(enable: bool = True) -> Generator[None]:
    """The same on this thread, while the block runs."""
    before = SCOPE.scoped
    SCOPE.scoped = enable
    try:
        yield
    finally:
        SCOPE.scoped = before
