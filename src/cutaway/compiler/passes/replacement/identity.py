"""By what an implementation is known in the cache, without computing it anew for every graph."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

from cutaway.compiler.passes.replacement.key import is_plain
from cutaway.identity.reads import reads
from cutaway.identity.sources import comes_with_python_or_torch, is_keyed_by_file
from cutaway.ops import IrOp, IrOpImpl
from cutaway.torch_internals import OpOverload, OpOverloadPacket

_ABSENT = object()
# They are known by what they are, not by what is in them at the moment.
_FIXED = (types.FunctionType, types.BuiltinFunctionType, IrOp, OpOverload, OpOverloadPacket)

Check = Callable[[], bool]


class Identities:
    """``uuid()`` of implementations, computed again when something that it was made of may have changed.

    The uuid is a walk over all that an implementation reads, a few hundred microseconds; that the names in it still
    stand for the very same functions, constants and things of torch is told in a few. Of one that closes over something
    else, or reads an object, a class or a module that may have changed inside, it is computed each time.
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
    if _is_by_name(function.__globals__.get("__name__")):
        return
    names, read = function.__globals__, reads(code)
    values = {name: names.get(name, _ABSENT) for name in read.names}
    yield lambda: all(names.get(name, _ABSENT) is value for name, value in values.items())
    if read.imports or read.variables:
        yield lambda: False
    for value in values.values():
        if not _is_fixed(value):
            yield _same_constants(value) if _holds_constants(value) else lambda: False
    for value in (*held, *values.values()):
        if isinstance(value, types.FunctionType):
            yield from _checks(value, seen)


def _same_content(cell: types.CellType, content: Any) -> Check:
    return lambda: _content(cell) is content


def _same_constants(value: Any) -> Check:
    held = repr(value)
    return lambda: repr(value) == held


def _holds_constants(value: Any) -> bool:
    """Whether it is a dict, list or set of constants, whose ``repr`` says all."""
    if type(value) is dict:
        return _holds_constants([*value, *value.values()])
    kinds = (list, tuple, set, frozenset)
    return type(value) in kinds and all(is_plain(part) or _holds_constants(part) for part in value)


def _is_by_name(module: Any) -> bool:
    return comes_with_python_or_torch(module) or is_keyed_by_file(module)


def _is_fixed(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(_is_fixed, value))
    if isinstance(value, (type, types.ModuleType)):
        return _is_by_name(value.__module__ if isinstance(value, type) else value.__name__)
    return is_plain(value) or isinstance(value, _FIXED) or value is _ABSENT


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return _ABSENT
