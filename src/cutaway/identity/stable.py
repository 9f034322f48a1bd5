"""Values as JSON that is the same in every process: what a document of factors is made of.

Of a function it is said what it reads by name, too, as far as its own package or code that is not installed goes:
values and objects as they are now, functions and classes with what they read in turn. Of what comes with Python, torch
or another installed package, the version says it.

Where this cannot be had (an object known by its address alone, a function without a source), :class:`UncacheableError`
is raised: what depends on it is compiled anew each time, never taken from the cache of something else.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import types
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.identity.instances import behind, without_state
from cutaway.identity.plain import NOT_PLAIN, content_of, is_made, is_open, name_of, own_of, plain
from cutaway.identity.reached import Reaching
from cutaway.identity.reads import Reads, reads_of_file
from cutaway.identity.sources import (
    UncacheableError,
    code_digest,
    comes_with_python_or_torch,
    digest,
    file_digest,
    import_path,
    installed,
    is_keyed_by_file,
    top,
)

_DEEPEST = 24  # of values within values
_IN_C = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType)


def canonical(value: Any) -> str:
    """JSON of what :func:`stable` returned, in the one form that is digested."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable(value: Any, where: str = "value", *, reach: bool = True, home: str = "") -> Any:
    """A value as JSON.

    Passes and the like stand for themselves by their ``uuid()``, functions and classes by their name, their source
    file, the code that is loaded and what that reads by name; other objects by their class and their state. An object
    with a method ``made_of()`` stands for what that returns.

    Args:
        value: it.
        where: what it is, for the error.
        reach: whether to look at what functions read by name. Not for code that merely runs beside what is compiled.
        home: an installed package whose classes are to be looked into; of others the version is known.

    Raises:
        UncacheableError: it, or something in it, has no such form. ``where`` says where that was.
    """
    return _Walk(reach, home).whole(value, where)


def stable_file(path: str, where: str) -> Any:
    """What the functions in a source file read by name, where it is not known which of them will run.

    Raises:
        UncacheableError: it cannot be read or is not imported, or what it reads has no such form.
    """
    module = next((one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == path), None)
    if module is None:
        raise UncacheableError(where, f"no module that stands in {path!r} is imported")
    file_digest(path, where)
    return _Walk(True, "").whole(_File(module, reads_of_file(Path(path).read_text(), path)), where)


@dataclasses.dataclass(frozen=True)
class _File:
    """A source file, of which any function may run."""

    module: types.ModuleType
    read: Reads


class _Walk(Reaching):
    """One walk; it remembers what it is inside of, because functions refer to themselves."""

    def __init__(self, reaches: bool, home: str) -> None:
        super().__init__(reaches, home)
        self.inside: dict[int, str] = {}
        self.classes: dict[tuple[type, str], Any] = {}

    def value(self, value: Any, where: str) -> Any:
        known = plain(value)
        if known is not NOT_PLAIN:
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
        if isinstance(value, Set):
            return {"set": sorted((self.value(part, where) for part in value), key=canonical)}
        if isinstance(value, slice):
            return {"slice": [self.value(part, where) for part in (value.start, value.stop, value.step)]}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__, **self.source(value.__name__, getattr(value, "__file__", None), where)}
        if isinstance(value, _File):
            return self.read(value.read, vars(value.module), where)
        if isinstance(value, functools.partial):
            return {"partial": self.value([value.func, list(value.args), value.keywords], where)}
        if isinstance(value, types.MethodType):
            function = self.value(value.__func__, where)
            return {"method": value.__func__.__qualname__, "of": self.value(value.__self__, where), "is": function}
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

    def function(self, function: types.FunctionType, where: str) -> Any:
        path = import_path(function)
        found: dict[str, Any] = {"function": path or name_of(function)}
        if path is not None and comes_with_python_or_torch(function.__module__):
            return found
        code = function.__code__
        found |= self.source(function.__module__, code.co_filename, f"{where} ({found['function']})")
        found["code"] = code_digest(code)
        kept = {
            "closure": {
                name: content_of(cell)
                for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
                if name != "__class__"
            },
            "defaults": list(function.__defaults__ or ()),
            "keywords": function.__kwdefaults__ or {},
        }
        kept["attributes"] = {name: part for name, part in vars(function).items() if not name.startswith("_")}
        found |= {key: self.value(part, f"{where}.{key}") for key, part in kept.items() if part}
        return found | self.globals(function, where)

    def type(self, kind: type, where: str) -> Any:
        """A class by its name and, unless they come with torch, the sources of it and what it derives from."""
        known = self.classes.get((kind, self.home))
        if known is not None:
            return dict(known)
        own = [part for part in kind.__mro__ if not comes_with_python_or_torch(part.__module__)]
        found: dict[str, Any] = {"class": name_of(kind)}
        if import_path(kind) is None and not own:
            raise UncacheableError(where, f"the class {name_of(kind)} is a local one")
        if own:
            found["code"] = digest(canonical([self.members(part, where) for part in own]))
        self.classes[kind, self.home] = found
        return dict(found)

    def members(self, kind: type, where: str) -> Any:
        """A class's source, its methods with all that they hold and read, and the values that stand on it."""
        where = f"{where} ({name_of(kind)})"
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        source = self.source(kind.__module__, file, where)
        held = {name: part for name, part in own_of(kind) if not is_made(part)}
        version = installed(top(kind.__module__)) if top(kind.__module__) != self.home else None
        if version or not self.reaches or is_keyed_by_file(kind.__module__):
            loaded = {name: part.__code__ for name, part in held.items() if isinstance(part, types.FunctionType)}
            return [name_of(kind), {name: code_digest(code) for name, code in loaded.items()}, source, version]
        return [name_of(kind), {name: self.value(part, f"{where}.{name}") for name, part in held.items()}, source]

    def instance(self, value: Any, where: str) -> Any:
        """What it says that it is made of, its ``uuid()``, an expression that makes it, or its class and state."""
        value = torch_internals.opaque_value(value)
        home = self.home
        if callable(value):  # a pass, wherever it is installed
            self.home = top(type(value).__module__)
        try:
            return self.described(value, where)
        finally:
            self.home = home

    def described(self, value: Any, where: str) -> Any:
        says = next((name for kind in type(value).__mro__ for name in ("made_of", "uuid") if name in vars(kind)), "")
        if says == "made_of":
            return {"class": name_of(type(value)), "made of": self.value(value.made_of(), where)}
        if callable(getattr(value, "uuid", None)):
            return {"class": name_of(type(value)), "uuid": self.uuid(value, where)}
        expression = torch_internals.opaque_expression(value)
        if expression is not None:
            names = {name: self.value(part, where) for name, part in sorted(expression[1].items())}
            return {"expression": expression[0], "names": names}
        known = without_state(value)
        if known is not None:
            return known
        parts = behind(value)
        if parts is not None:
            return self.value(parts, where)
        if dataclasses.is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif is_open(value):
            state = dict(vars(value))
        else:
            raise UncacheableError(
                where, f"an object of {name_of(type(value))} has no uuid(), and its state cannot be read"
            )
        return self.type(type(value), where) | {"state": self.value(state, where)}

    def uuid(self, value: Any, where: str) -> Any:
        try:
            known = value.uuid()
        except Exception as error:  # it is the user's: whatever it raises, it names nothing
            raise UncacheableError(where, f"uuid() of {name_of(type(value))} raised {error!r}") from error
        if known is None:
            raise UncacheableError(where, f"uuid() of {name_of(type(value))} is None")
        return self.value(known, f"{where} (uuid() of {name_of(type(value))})")


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
