"""By what an implementation is known in the cache, without computing it anew for every graph."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, NamedTuple

from cutaway.ops import IrOpImpl

_ABSENT = object()


class _Binding(NamedTuple):
    """A global name that a function reads, and what it was bound to."""

    names: dict[str, Any]
    name: str
    value: Any

    def holds(self) -> bool:
        return self.names.get(self.name, _ABSENT) is self.value


class _CellBinding(NamedTuple):
    """A closed-over variable, and what it was bound to."""

    cell: types.CellType
    value: Any

    def holds(self) -> bool:
        return _content(self.cell) is self.value


class _Code(NamedTuple):
    """A function, and what it was made of."""

    function: types.FunctionType
    code: types.CodeType
    defaults: tuple[Any, ...] | None
    keyword_defaults: dict[str, Any] | None

    def holds(self) -> bool:
        now: Any = self.function
        same_defaults = now.__defaults__ is self.defaults and now.__kwdefaults__ is self.keyword_defaults
        return now.__code__ is self.code and same_defaults


_Held = _Binding | _CellBinding | _Code


class Identities:
    """``uuid()`` of implementations, computed again when a name that one reads is bound to something else.

    The uuid is a walk over all that an implementation reads, a few hundred microseconds; whether the names still stand
    for the very same objects is told in a few.
    """

    def __init__(self) -> None:
        self._known: dict[IrOpImpl, tuple[str, list[_Held]]] = {}

    def of(self, impl: IrOpImpl) -> str:
        """The uuid as it is now. Raises OpError when there is none."""
        known = self._known.get(impl)
        if known is None or not all(binding.holds() for binding in known[1]):
            bindings = list(_bindings(impl.function, set()))
            known = self._known[impl] = (impl.uuid(), bindings)
        return known[0]


def _bindings(function: Any, seen: set[int]) -> Iterator[_Held]:
    """All names that a function reads, and those that functions read which it finds by them."""
    for name in ("__wrapped__", "func", "__func__"):  # a decorator, a partial, a method
        if not isinstance(function, type) and callable(getattr(function, name, None)):
            yield from _bindings(getattr(function, name), seen)
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    yield _Code(function, function.__code__, function.__defaults__, function.__kwdefaults__)
    for name in _names(function.__code__):
        value = function.__globals__.get(name, _ABSENT)
        yield _Binding(function.__globals__, name, value)
        yield from _bindings(value, seen)
    for cell in function.__closure__ or ():
        yield _CellBinding(cell, _content(cell))
        yield from _bindings(_content(cell), seen)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return _ABSENT
