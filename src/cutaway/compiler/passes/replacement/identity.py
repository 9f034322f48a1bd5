"""By what an implementation is known in the cache, without computing it anew for every graph."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from cutaway.compiler.passes.replacement.key import is_plain
from cutaway.ops import IrOp, IrOpImpl
from cutaway.torch_internals import OpOverload, OpOverloadPacket

_ABSENT = object()
# They are known by what they are, not by what is in them at the moment.
_FIXED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, IrOp, OpOverload, OpOverloadPacket)

Check = Callable[[], bool]


class Identities:
    """``uuid()`` of implementations, computed again when something that it was made of may have changed.

    The uuid is a walk over all that an implementation reads, a few hundred microseconds; that the names in it still
    stand for the very same functions, modules and constants is told in a few. Of one that closes over something else
    it is computed each time.
    """

    def __init__(self) -> None:
        self._known: dict[IrOpImpl, tuple[str, list[Check]]] = {}

    def of(self, impl: IrOpImpl) -> str:
        """The uuid as it is now. Raises OpError when there is none."""
        known = self._known.get(impl)
        if known is None or not all(holds() for holds in known[1]):
            checks = list(_checks(impl.function, set()))
            known = self._known[impl] = (impl.uuid(), checks)
        return known[0]


def _checks(function: Any, seen: set[int]) -> Iterator[Check]:
    """Whether all is as it is now that a function is made of and reads, and those that it finds by name."""
    if not isinstance(function, types.FunctionType):
        yield lambda: False
        return
    if id(function) in seen:
        return
    seen.add(id(function))
    code, defaults, named = function.__code__, function.__defaults__, function.__kwdefaults__
    yield lambda: function.__code__ is code and function.__defaults__ is defaults and function.__kwdefaults__ is named
    held = [*(defaults or ()), *(named or {}).values(), *map(_content, function.__closure__ or ())]
    if vars(function) or not all(map(_is_fixed, held)):
        yield lambda: False
    for cell in function.__closure__ or ():
        yield _same_content(cell, _content(cell))
    names = function.__globals__
    values = {name: names.get(name, _ABSENT) for name in _names(code)}
    yield lambda: all(names.get(name, _ABSENT) is value for name, value in values.items())
    for value in (*held, *values.values()):
        if isinstance(value, types.FunctionType):
            yield from _checks(value, seen)


def _same_content(cell: types.CellType, content: Any) -> Check:
    return lambda: _content(cell) is content


def _is_fixed(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_fixed, value))
    return is_plain(value) or isinstance(value, _FIXED) or value is _ABSENT


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
