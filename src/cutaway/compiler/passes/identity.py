"""By what a pass is known in another process: its source files, its code, and what it holds.

The cache's own walk (``cache/stable.py``) comes later in the order of things and knows more kinds of values; a pass
needs few, and what is none of them has no identity rather than a wrong one.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cutaway import torch_internals

_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class NoIdentityError(Exception):
    """Something cannot be told from its like in another process; never leaves the passes."""


def digest(plain: Any) -> str:
    """SHA-256, in hex, of what :func:`identity` returned."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def identity(value: Any) -> Any:
    """A value as JSON that is the same in every process and differs where the value does.

    Raises:
        NoIdentityError: there is none, as for a tensor, or for a function that was typed in.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, enum.Enum):
        return ["enum", _path(type(value)), value.name]
    if isinstance(value, (int, float, complex, bytes)):
        return [type(value).__name__, repr(value)]
    if isinstance(value, _OF_TORCH):
        return ["torch", str(value)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(identity, value)]
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted(map(identity, value), key=json.dumps)]
    if isinstance(value, Mapping):
        return ["mapping", *sorted(([identity(key), identity(part)] for key, part in value.items()), key=json.dumps)]
    if isinstance(value, type):
        return _class(value)
    if isinstance(value, types.FunctionType):
        return _function(value)
    overload = torch_internals.op_overload(value)
    if overload is not None:
        return ["op", overload.name()]
    return _object(value)


def _path(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _source(thing: Any) -> str:
    """Digest of the file in which something stands; of its own lines when they are all there is (a notebook)."""
    try:
        file = inspect.getsourcefile(thing)
        if file is not None and Path(file).is_file():
            facts = Path(file).stat()
            return _file(file, facts.st_mtime_ns, facts.st_size)
        return hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()
    except (OSError, TypeError) as error:
        raise NoIdentityError(f"{thing!r} has no source") from error


@functools.lru_cache(maxsize=256)
def _file(path: str, modified: int, size: int) -> str:
    """By time and size, so that a file that is edited while the process runs is read again."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _class(kind: type) -> Any:
    own = [part for part in kind.__mro__ if part.__module__.partition(".")[0] not in ("builtins", "torch", "abc")]
    return ["class", *([_path(part), _source(part)] for part in own)]


def _function(function: types.FunctionType) -> Any:
    code = function.__code__
    cells = [_content(cell) for cell in function.__closure__ or ()]
    held = [cells, list(function.__defaults__ or ()), function.__kwdefaults__ or {}]
    return ["function", _path(function), _source(function), code.co_firstlineno, identity(held)]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def _object(value: Any) -> Any:
    """By its ``uuid()`` if it has one; else by its class and state, when it is a dataclass."""
    if callable(getattr(value, "uuid", None)):
        known = value.uuid()
        if known is None:
            raise NoIdentityError(f"uuid() of {value!r} is None")
        return ["object", _path(type(value)), identity(known)]
    if dataclasses.is_dataclass(value):
        state = {field.name: identity(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return ["object", _class(type(value)), state]
    raise NoIdentityError(f"{type(value).__qualname__} has no uuid()")
