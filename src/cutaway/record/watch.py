"""Wraps methods of a host (vLLM) so that they are watched, and go on as if they were not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from importlib import import_module
from typing import Any

from cutaway.record.recorder import Recorder

Place = Callable[..., AbstractContextManager[Any] | None]


class Watcher:
    """Wraps methods for one recorder.

    Attributes:
        missing: names that could not be wrapped because this version of the host does not have them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.missing: list[str] = []

    def watch(
        self, where: str, name: str, *, place: Place | None = None, after: Callable[..., None] | None = None
    ) -> None:
        """Wrap a method or function; what the watchers raise never reaches the caller.

        Args:
            where: ``package.module:Class`` or ``package.module``.
            name: the method or function.
            place: called with the arguments before the call; a context manager to make the call in, or None.
            after: called with the result and then the arguments, once the call has returned.
        """
        enter, left = self._answer(place), self.recorder.guarded(after) if after else None

        def around(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            with enter(*args, **kwargs) or nullcontext():
                result = original(*args, **kwargs)
                if left is not None:
                    left(result, *args, **kwargs)
            return result

        self.replace(where, name, around)

    def replace(self, where: str, name: str, around: Callable[..., Any]) -> None:
        """Let calls go to ``around(original, *args, **kwargs)``."""
        module_name, _, class_name = where.partition(":")
        try:
            module = import_module(module_name)
            owner: Any = getattr(module, class_name) if class_name else module
            held = vars(owner)[name]
        except (ImportError, AttributeError, KeyError):
            self.missing.append(f"{where.replace(':', '.')}.{name}")
            return
        static = isinstance(held, (staticmethod, classmethod))
        original: Callable[..., Any] = held.__func__ if static else held  # pyright: ignore[reportAssignmentType]

        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, type(held)(wrapped) if static else wrapped)

    def _answer(self, ask: Place | None) -> Place:
        """``ask``, whose answer is None when it raises or when nothing is recorded any more."""

        def safely(*args: Any, **kwargs: Any) -> AbstractContextManager[Any] | None:
            if ask is None or self.recorder.disabled:
                return None
            try:
                return ask(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  (never end the run)
                self.recorder.failed(getattr(ask, "__name__", "place"), error)
                return None

        return safely
