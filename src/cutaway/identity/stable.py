"""Values as JSON that is the same in every process: what a document of factors is made of.

Where this cannot be had (an object known by its address alone, a function without a source), :class:`UncacheableError`
is raised: what depends on it is compiled anew each time, never taken from the cache of something else.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import sys
import types
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.identity.sources import (
    UncacheableError,
    code_digest,
    comes_with_python_or_torch,
    digest,
    file_digest,
    import_path,
)

_DEEPEST = 24
_TORCH_VALUES = (torch.dtype, torch.device, torch.layout, torch.memory_format)
_IN_C = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType)
_OF_AN_EMPTY_CLASS = (type("Empty", (), {}).__basicsize__, 0)  # others are written in C, or have slots


def canonical(value: Any) -> str:
    """JSON of what :func:`stable` returned, in the one form that is digested."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable(value: Any, where: str = "value") -> Any:
    """A value as JSON.

    Passes and the like stand for themselves by their ``uuid()``, functions and classes by their name, their source
    file and the code that is loaded, other objects by their class and their state.

    Raises:
        UncacheableError: it, or something in it, has no such form. ``where`` says where that was.
    """
    return _Walk().value(value, where)


class _Walk:
    """One walk; it remembers what it is inside of, because functions refer to themselves."""

    def __init__(self) -> None:
        self.inside: dict[int, str] = {}

    def value(self, value: Any, where: str) -> Any:
        known = _plain(value)
        if known is not _NOT_PLAIN:
            return known
        if isinstance(value, torch.Tensor):
            return {"tensor": tensor_digest(value, where)}
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            raise UncacheableError(where, "a symbolic size has no value yet")
        if id(value) in self.inside:
            return {"again": self.inside[id(value)]}
        if len(self.inside) > _DEEPEST:
            raise UncacheableError(where, "it is nested too deeply")
        self.inside[id(value)] = where
        try:
            return self.composed(value, where)
        finally:
            del self.inside[id(value)]

    def composed(self, value: Any, where: str) -> Any:
        if isinstance(value, Mapping):
            named = [(self.key(key, where), part) for key, part in value.items()]
            return {name: self.value(part, f"{where}.{name}") for name, part in sorted(named, key=lambda pair: pair[0])}
        if isinstance(value, (list, tuple)):
            return [self.value(part, f"{where}[{index}]") for index, part in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return {"set": sorted((self.value(part, where) for part in value), key=canonical)}
        if isinstance(value, slice):
            return {"slice": [self.value(part, where) for part in (value.start, value.stop, value.step)]}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__, **self.source(value.__name__, getattr(value, "__file__", None), where)}
        if isinstance(value, functools.partial):
            return {"partial": self.value([value.func, list(value.args), value.keywords], where)}
        if isinstance(value, types.MethodType):
            return {"method": value.__func__.__qualname__, "of": self.value(value.__self__, where)}
        if isinstance(value, type):
            return self.type(value, where)
        if isinstance(value, types.FunctionType):
            return self.function(value, where)
        if isinstance(value, _IN_C):
            return self.in_c(value, where)
        return self.instance(value, where)

    def key(self, key: Any, where: str) -> str:
        return key if isinstance(key, str) else canonical(self.value(key, f"a key of {where}"))

    def in_c(self, value: Any, where: str) -> Any:
        """A function of an extension module, by its name."""
        owner = getattr(value, "__self__", None)
        path = import_path(value)
        if path is None and owner is not None and not isinstance(owner, (type, types.ModuleType)):
            raise UncacheableError(where, f"{value!r} belongs to an object")
        owner_name = getattr(owner, "__name__", None) or getattr(value, "__objclass__", type(None)).__qualname__
        return {"builtin": path or f"{owner_name}.{value.__name__}"}

    def source(self, module: str | None, path: str | None, where: str) -> dict[str, str]:
        """The digest of a source file, unless the versions say it all."""
        if comes_with_python_or_torch(module):
            return {}
        return {"source": file_digest(path or "", where)}

    def function(self, function: types.FunctionType, where: str) -> Any:
        path = import_path(function)
        found: dict[str, Any] = {"function": path or _name(function)}
        if path is not None and comes_with_python_or_torch(function.__module__):
            return found
        code = function.__code__
        found |= self.source(function.__module__, code.co_filename, f"{where} ({found['function']})")
        found["code"] = code_digest(code)
        kept = {
            "closure": {
                name: _content(cell)
                for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
                if name != "__class__"
            },
            "defaults": list(function.__defaults__ or ()),
            "keywords": function.__kwdefaults__ or {},
        }
        return found | {key: self.value(part, f"{where}.{key}") for key, part in kept.items() if part}

    def type(self, kind: type, where: str) -> Any:
        """A class by its name and, unless they come with torch, the sources of it and what it derives from."""
        own = [part for part in kind.__mro__ if not comes_with_python_or_torch(part.__module__)]
        found: dict[str, Any] = {"class": _name(kind)}
        if import_path(kind) is None and not own:
            raise UncacheableError(where, f"the class {_name(kind)} is a local one")
        if own:
            found["code"] = digest(canonical([self.members(part, where) for part in own]))
        return found

    def members(self, kind: type, where: str) -> Any:
        """A class's source and loaded methods; of a local one also what its methods hold."""
        where = f"{where} ({_name(kind)})"
        functions = {
            name: part
            for name, held in sorted(vars(kind).items())
            if isinstance(part := _underlying(held), types.FunctionType) and not _is_made(part)
        }
        if import_path(kind) is None:
            described: Any = {name: self.value(part, f"{where}.{name}") for name, part in functions.items()}
        else:
            described = {name: code_digest(part.__code__) for name, part in functions.items()}
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        return [_name(kind), described, self.source(kind.__module__, file, where)]

    def instance(self, value: Any, where: str) -> Any:
        """Its ``uuid()``, an expression that makes it, or its class and state."""
        value = torch_internals.opaque_value(value)
        if callable(getattr(value, "uuid", None)):
            return {"class": _name(type(value)), "uuid": self.uuid(value, where)}
        expression = torch_internals.opaque_expression(value)
        if expression is not None:
            names = {name: self.value(part, where) for name, part in sorted(expression[1].items())}
            return {"expression": expression[0], "names": names}
        if dataclasses.is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif _is_open(value):
            state = dict(vars(value))
        else:
            raise UncacheableError(
                where, f"an object of {_name(type(value))} has no uuid(), and its state cannot be read"
            )
        return self.type(type(value), where) | {"state": self.value(state, where)}

    def uuid(self, value: Any, where: str) -> Any:
        try:
            known = value.uuid()
        except Exception as error:  # it is the user's: whatever it raises, it names nothing
            raise UncacheableError(where, f"uuid() of {_name(type(value))} raised {error!r}") from error
        if known is None:
            raise UncacheableError(where, f"uuid() of {_name(type(value))} is None")
        return self.value(known, f"{where} (uuid() of {_name(type(value))})")


def tensor_digest(value: torch.Tensor, where: str) -> str:
    """``dtype[shape] digest`` of a real tensor, however large.

    Raises:
        UncacheableError: it is a fake one, or of a layout or class whose bytes say nothing.
    """
    content = torch_internals.tensor_bytes(value)
    if content is None:
        raise UncacheableError(
            where, f"the bytes of a constant ({type(value).__name__}, {value.layout}) cannot be read"
        )
    facts = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{list(value.stride())} {value.device}"
    return f"{facts} {digest(content)}"


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{getattr(thing, '__qualname__', None) or thing.__name__}"


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """What needs no walk, as JSON; ``_NOT_PLAIN`` for everything else."""
    if isinstance(value, enum.Enum):
        return f"{_name(type(value))}.{value.name}"
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
    return {"torch": str(value)} if isinstance(value, _TORCH_VALUES) else _NOT_PLAIN


def _is_open(value: Any) -> bool:
    """Whether all state of an object lies in its ``__dict__``: it is no larger than that of an empty class."""
    kind = type(value)
    return hasattr(value, "__dict__") and (kind.__basicsize__, kind.__itemsize__) == _OF_AN_EMPTY_CLASS


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def _underlying(held: Any) -> Any:
    """The function in a static method, class method or property."""
    return getattr(held, "__func__", None) or getattr(held, "fget", None) or held


def _is_made(function: types.FunctionType) -> bool:
    """Whether a method was made by a decorator such as ``dataclass``; the class's source says what it does."""
    return function.__code__.co_filename.startswith("<")
