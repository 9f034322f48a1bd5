"""All that one model's compile shares: passed along, never global."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from torch import fx

from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.counters import CompilationCounter

Runnable = Callable[..., Any]


class Inspector(Protocol):
    """Looks for a fault in one model, in a process that was started for that: runs pieces another way, or watches them.

    (`cutaway.explain.within.hands` has it; the compiler does not know what it does.)
    """

    def configured(self, config: CompilationConfig) -> CompilationConfig:
        """The configuration to compile with."""
        ...

    def passes(self, passes: Sequence[Any]) -> list[Any]:
        """The passes of a round to run."""
        ...

    def split(self, split_gm: fx.GraphModule, rebuild: Callable[[str, str], Runnable]) -> None:
        """A model was split. ``rebuild(piece, range)`` compiles a piece anew, with no cache."""
        ...

    def compiling(self, piece: str, span: str) -> None:
        """A piece is about to be compiled."""
        ...

    def linking(
        self, code: str, names: Sequence[str], runnables: Sequence[Runnable], span: str
    ) -> tuple[str, list[Runnable]]:
        """The stitching code and the pieces that it is about to be linked with, for a range."""
        ...

    def whole(self, function: Runnable) -> Runnable:
        """The model, linked for a range."""
        ...


def find_inspector() -> Inspector | None:
    """The inspector that ``CUTAWAY_SWITCHES`` asks for (`cutaway.explain.switches`); None in any other process."""
    if not os.environ.get("CUTAWAY_SWITCHES"):
        return None
    return import_module("cutaway.explain.within.hands").make_inspector()


@dataclass
class Session:
    """What the compile of one model knows and shares with nobody else.

    Attributes:
        config: how it is compiled.
        tag: what logs and dumps call it: ``backbone``, ``eagle_head``, ...
        counters: what happened so far.
        on_complete: called once, when the model is compiled or loaded.
        lock: held while it is compiled.
        inspector: looks for a fault in it; None in almost every process.
    """

    config: CompilationConfig
    tag: str = "backbone"
    counters: CompilationCounter = field(default_factory=CompilationCounter)
    on_complete: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    inspector: Inspector | None = field(default_factory=find_inspector)

    def __post_init__(self) -> None:
        if self.inspector is not None:
            self.config = self.inspector.configured(self.config)
