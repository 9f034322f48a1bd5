"""Wraps methods of a host (vLLM) so that they are watched, and go on as if they were not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
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
        left = self.recorder.guarded(after) if after else None

        def around(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            entered = self._enter(place, args, kwargs)
            try:
                result = original(*args, **kwargs)
                if left is not None:
                    left(result, *args, **kwargs)
            except BaseException as error:
                self._leave(entered, error)
                raise
            self._leave(entered, None)
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

    def _enter(self, place: Place | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExitStack:
        """Enter the place of a call, unless that fails or nothing is recorded any more."""
        stack = ExitStack()
        if place is not None and not self.recorder.disabled:
            try:
                manager = place(*args, **kwargs)
                if manager is not None:
                    stack.enter_context(manager)
            except Exception as error:  # noqa: BLE001  (never end the run)
                self.recorder.failed(getattr(place, "__name__", "place"), error)
        return stack

    def _leave(self, entered: ExitStack, error: BaseException | None) -> None:
        """Leave the place of a call that returned, or raised ``error``; only what is ours is caught."""
        try:
            entered.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except BaseException as raised:  # (the watched error goes on its way at the caller)
            if raised is error:
                return
            if not isinstance(raised, Exception):  # an interrupt is the program's
                raise
            self.recorder.failed("leaving a place", raised)
