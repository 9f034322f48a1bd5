"""All that one model's compile shares: passed along, never global."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.counters import CompilationCounter


@dataclass
class Session:
    """What the compile of one model knows and shares with nobody else.

    Attributes:
        config: how it is compiled.
        tag: what logs and dumps call it: ``backbone``, ``eagle_head``, ...
        counters: what happened so far.
        on_complete: called once, when the model is compiled or loaded.
        lock: held while it is compiled.
    """

    config: CompilationConfig
    tag: str = "backbone"
    counters: CompilationCounter = field(default_factory=CompilationCounter)
    on_complete: list[Callable[[], None]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
