"""What needs no walk, and what is asked of all things: constants, names, what stands on a class."""

from __future__ import annotations

import enum
import functools
import math
import types
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import torch

from cutaway.identity.sources import digest

_TORCH_VALUES = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_OF_AN_EMPTY_CLASS = (type("Empty", (), {}).__basicsize__, 0)  # others are written in C, or have slots

NOT_PLAIN = object()


def plain(value: Any) -> Any:
    """What needs no walk, as JSON; ``NOT_PLAIN`` for everything else."""
    if isinstance(value, enum.Enum):
        return f"{name_of(type(value))}.{value.name}"
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, (complex, type(...), range)):
        return {type(value).__name__: repr(value)}
    if isinstance(value, bytes):
        return {"bytes": digest(value)}
    if isinstance(value, PurePath):
        return {"path": str(value)}
    return {"torch": str(value)} if isinstance(value, _TORCH_VALUES) else NOT_PLAIN


def name_of(thing: Any) -> str:
    return f"{thing.__module__}.{getattr(thing, '__qualname__', None) or thing.__name__}"


def is_open(value: Any) -> bool:
    """Whether all state of an object lies in its ``__dict__``: it is no larger than that of an empty class."""
    kind = type(value)
    return hasattr(value, "__dict__") and (kind.__basicsize__, kind.__itemsize__) == _OF_AN_EMPTY_CLASS


def content_of(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def own_of(kind: type) -> Iterable[tuple[str, Any]]:
    """What stands on a class itself and was written there: functions, and values under names without underscores."""
    if issubclass(kind, enum.Enum):
        yield from ((name, member.value) for name, member in kind.__members__.items())
    for name, held in sorted(vars(kind).items()):
        part = _underlying(held)
        is_method = isinstance(part, types.FunctionType)
        is_passed_over = issubclass(kind, enum.Enum) or name.startswith("__") or name == "_abc_impl"
        if is_method or not (is_passed_over or _is_of_python(part)):
            yield name, part


def _is_of_python(held: Any) -> bool:
    """Whether it is a descriptor written in C: of a slot, of a field of a named tuple."""
    return hasattr(type(held), "__get__") and not isinstance(held, types.FunctionType)


def _underlying(held: Any) -> Any:
    """The function in a static method, class method, property or cached property."""
    if isinstance(held, (functools.cached_property, functools.partialmethod)):
        return held.func
    return getattr(held, "__func__", None) or getattr(held, "fget", None) or held


def is_made(function: Any) -> bool:
    """Whether a method was made by a decorator such as ``dataclass``; the class's source says what it does."""
    if not isinstance(function, types.FunctionType):
        return False
    inner = getattr(function, "__wrapped__", function)
    return isinstance(inner, types.FunctionType) and inner.__code__.co_filename.startswith("<")
