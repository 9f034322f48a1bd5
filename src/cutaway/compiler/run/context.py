"""What the engine says of the batch that runs now.

This is the one thing in the compiler that is not passed as an argument. Whether to replay is asked deep inside the
model, by wrappers that the captured code calls with the captured arguments and nothing else: there is no parameter
that could carry it. A ``ContextVar`` and not a global, because two engines may run in two threads: a thread, and an
asyncio task, sees only what was set in it. (vLLM's ``forward_context`` is the model.)
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cutaway.compiler.config import CUDAGraphMode
from cutaway.errors import ConfigError


@dataclass(frozen=True)
class BatchDescriptor:
    """What two batches must share to be served by one CUDA graph: the key of the graph, so as little as will do.

    Attributes:
        num_tokens: the number of tokens, padding included.
        uniform: whether all requests in the batch have the same number of tokens (decode).
        extras: whatever else an engine captures graphs for, such as the number of active LoRA adapters.
    """

    num_tokens: int
    uniform: bool = False
    extras: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class Batch:
    """A batch that runs: its descriptor, and which wrappers may use a graph (``NONE``: none of them)."""

    descriptor: BatchDescriptor
    mode: CUDAGraphMode


# The batch that runs, and whether graphs may be captured.
_now: ContextVar[tuple[Batch | None, bool]] = ContextVar("cutaway_run", default=(None, False))


@contextmanager
def batch_context(descriptor: BatchDescriptor, mode: CUDAGraphMode = CUDAGraphMode.NONE) -> Generator[None]:
    """Around one call of the model: which batch it is, and which wrappers replay a graph for it.

    Args:
        descriptor: the batch, padded to a captured size; :meth:`CUDAGraphDispatcher.dispatch` gives it, and the mode.
        mode: ``PIECEWISE``, ``FULL``, or ``NONE`` (a warm-up, a profiling run, a batch larger than all graphs).

    Raises:
        ConfigError: the mode is ``FULL_AND_PIECEWISE``, which is no mode of a single batch.
    """
    if mode is CUDAGraphMode.FULL_AND_PIECEWISE:
        raise ConfigError(
            "a batch cannot run in mode FULL_AND_PIECEWISE",
            "that is what a model is prepared for; one batch replays either the whole or pieces",
            "give FULL or PIECEWISE",
        )
    token = _now.set((Batch(descriptor, mode), capture_allowed()))
    try:
        yield
    finally:
        _now.reset(token)


@contextmanager
def allow_capture() -> Generator[None]:
    """Where the engine captures its CUDA graphs, before it serves; anywhere else a missing graph is an error."""
    token = _now.set((current_batch(), True))
    try:
        yield
    finally:
        _now.reset(token)


def current_batch() -> Batch | None:
    """The batch that runs, or None outside :func:`batch_context`."""
    return _now.get()[0]


def capture_allowed() -> bool:
    """Whether this is inside :func:`allow_capture`."""
    return _now.get()[1]
