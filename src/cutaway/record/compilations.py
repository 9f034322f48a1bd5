"""The compilations of one process: what each is called, and which of them goes on on this thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

from cutaway import torch_internals
from cutaway.record.compilation import Compilation, safe_name
from cutaway.record.context import where

_TAKEN = ("nodes", "inputs")  # folders of the process's own


class Compilations:
    """The compilations that have begun in this process, in order.

    Dynamo knows a compile by its id, a host by a name (``where().compilation``). Where Inductor is called without
    either, the compilation is the thread's own until the next one begins.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Compilation] = {}
        self._by_compile_id: dict[str, Compilation] = {}
        self._on_thread = threading.local()

    def __iter__(self) -> Iterator[Compilation]:
        return iter(self._by_name.values())

    def add(self, wanted: str, function: str, compile_id: str | None) -> Compilation:
        """A compilation begins.

        Args:
            wanted: what it is to be called; a number is added when another one is called so.
            function: the qualified name of the function that is compiled.
            compile_id: Dynamo's, such as ``0/1``: frame 0, compiled for the second time; None without Dynamo.
        """
        attempt = (compile_id or "").partition("/")[2]
        recompile = int(attempt) if attempt.isdigit() else 0
        base = safe_name(wanted)
        name = self.unused_name(base if not recompile else f"{base}.{recompile + 1}")
        compilation = Compilation(name, function, compile_id=compile_id, recompile=recompile)
        self._by_name[name] = compilation
        if compile_id is not None:
            self._by_compile_id[compile_id] = compilation
        elif not where().compilation:
            self._on_thread.nameless = compilation
        return compilation

    def unused_name(self, wanted: str) -> str:
        """``wanted``, or ``wanted~2`` and so on for a further compilation that is called so."""
        base = safe_name(wanted)  # cut short before it is numbered: a number that is cut off would not help
        names = (base if number == 1 else f"{base}~{number}" for number in count(1))
        return next(name for name in names if name not in (*self._by_name, *_TAKEN))

    def compiled_as(self, compile_id: str | None) -> Compilation | None:
        """The compilation that Dynamo knows by this id."""
        return self._by_compile_id.get(compile_id or "")

    def find(self, name: str | None, compile_id: str | None) -> Compilation | None:
        """The compilation that Dynamo or a host knows by this."""
        return self.compiled_as(compile_id) or self._by_name.get(safe_name(name) if name else "")

    def known(self) -> Compilation | None:
        """The compilation on this thread, if one has begun."""
        found = self.compiled_as(torch_internals.current_compile_id())
        if found is not None:
            return found
        name = where().compilation
        return self._by_name.get(safe_name(name)) if name else self._nameless()

    def nameless(self) -> Compilation | None:
        """The compilation on this thread when neither Dynamo nor a host has a name for it."""
        found = self._nameless()
        return found if found is not None and self.known() is found else None

    def leave_nameless(self) -> None:
        """The next graph on this thread that nobody has a name for begins another compilation."""
        self._on_thread.nameless = None

    def _nameless(self) -> Compilation | None:
        return getattr(self._on_thread, "nameless", None)

    def foretell(self, reasons: list[str]) -> None:
        """Keep the reasons of a recompile until the function is captured (torch tells them before)."""
        self._on_thread.reasons = reasons

    def foretold(self) -> tuple[str, ...]:
        """Those reasons, once."""
        reasons, self._on_thread.reasons = getattr(self._on_thread, "reasons", None), None
        return tuple(reasons or ())
