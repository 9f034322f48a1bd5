"""A whole model that a cache serves: what its load says waits until it is known that the model will be used.

A load may end with "compile it anew": a source file has changed, a piece is damaged. Then nothing of it is recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cutaway.record.context import Where, put, where
from cutaway.record.kept.place import Place
from cutaway.record.kept.read_back import note_missing, read_compilation
from cutaway.record.output_code import Generated
from cutaway.record.recorder import Recorder


@dataclass
class Loading:
    """One load, on one thread.

    Attributes:
        codes: what was generated for its pieces, as far as it was loaded.
        is_told: whether it is known that the model will be used, and that was recorded.
        is_read_back: whether its recording was written again.
    """

    codes: list[Generated] = field(default_factory=list[Generated])
    is_told: bool = False
    is_read_back: bool = False
    _waiting: list[tuple[Where, Callable[[], None]]] = field(default_factory=list[tuple[Where, Callable[[], None]]])

    def later(self, write: Callable[[], None]) -> None:
        """Call this when the model will be used and its recording is not there to be read back."""
        if not self.is_told:
            self._waiting.append((where(), write))
        elif not self.is_read_back:
            write()

    def tell(self, recorder: Recorder, kept: Place) -> None:
        """The model will be used: write what was kept of it, or else what its artifacts hold."""
        if self.is_told:
            return
        self.is_told = True
        reason = read_compilation(recorder, kept, {code.digest for code in self.codes})
        self.is_read_back = reason is None
        if reason is None:
            return
        for place, write in self._waiting:
            with put(place):
                write()
        note_missing(recorder, reason)


class Loads:
    """On each thread, the load of a whole model that goes on."""

    def __init__(self) -> None:
        self._on_thread = threading.local()

    @property
    def current(self) -> Loading | None:
        """That on this thread."""
        return getattr(self._on_thread, "load", None)

    @contextmanager
    def loading(self) -> Generator[Loading]:
        """Within the block, a cache may serve a whole model; if it does, say so with :meth:`Loading.tell`."""
        self._on_thread.load = load = Loading()
        try:
            yield load
        finally:
            self._on_thread.load = None

    def when_used(self, write: Callable[[], None]) -> None:
        """Call this now; within a load, once it is known that it is needed (:meth:`Loading.later`)."""
        load = self.current
        write() if load is None else load.later(write)
