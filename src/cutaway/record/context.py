"""What is being compiled now, on this thread: set by the host (vLLM's adapter, our compiler), read by the hooks.

One ``ContextVar``, because Inductor calls a pass with a graph alone. A *host* is whoever drives the compiler; the
default one knows nothing beyond what torch itself tells.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from torch import fx

from cutaway.record.kept.place import Place


@dataclass(frozen=True)
class Where:
    """The place in a compile that events on this thread belong to; None where nobody said.

    ``kept`` is where that lies which was recorded of the cache's entry that is being loaded.
    """

    compilation: str | None = None
    model: str | None = None
    piece: str | None = None
    range: str | None = None
    kept: Place | None = None


_WHERE: ContextVar[Where] = ContextVar("cutaway_where", default=Where())  # noqa: B039  (frozen)


def where() -> Where:
    """The current place."""
    return _WHERE.get()


@contextmanager
def at(**changes: str | Place | None) -> Generator[None]:
    """Within the block, events belong to this place: ``at(piece="piece_02", range="1_4096")``."""
    with put(replace(_WHERE.get(), **changes)):  # pyright: ignore[reportArgumentType]
        yield


@contextmanager
def put(place: Where) -> Generator[None]:
    """Within the block, events belong to this place, whatever was said before."""
    token = _WHERE.set(place)
    try:
        yield
    finally:
        _WHERE.reset(token)


def range_name(start: int, end: int) -> str:
    """A compile range as it is written in selectors and folders: ``1_4096``; a single size is ``8_8``."""
    return f"{start}_{end}"


class Host:
    """What the program that drives the compiler can add. Every answer may be empty."""

    #: ``namespace::name`` of the operators that run only inside the engine (vLLM: its splitting ops)
    engine_ops: frozenset[str] = frozenset()
    #: parts of file names that are the engine's own machinery, not the model's code
    library_files: tuple[str, ...] = ()
    #: how a start is made that finds nothing in any cache, so that all of it can be recorded
    cold_start: str = "with TORCHINDUCTOR_CACHE_DIR set to an empty folder"

    def ranks(self) -> tuple[int, int]:
        """Rank and data-parallel rank of this process (torchrun's, by default)."""
        return int(os.environ.get("RANK", "0") or 0), 0

    def configuration(self) -> dict[str, Any]:
        """The run's configuration as JSON values, for ``context.json``."""
        return {}

    def is_trial(self) -> bool:
        """Whether the call that goes on is one with made-up inputs, by which an engine measures or warms up."""
        return False

    def provider(self, node: fx.Node) -> str | None:
        """The provider that a node of the host's IR will be lowered to, or None when it is not an IR node."""
        return None

    def donated_inputs(self) -> list[int]:
        """Positions of the current graph's inputs whose memory the graph may reuse."""
        return []

    def make_input(self, node: fx.Node) -> str | None:
        """Python that makes an input which only means something in this process (a packed weight's address)."""
        return None

    def module_that_registers(self, overload: Any) -> str | None:
        """The module whose import registers one of the host's operators; None leaves the answer to torch."""
        return None
