"""What values are made of: which are known by their name, and what each holds."""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import threading
import types
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.ops.inplace import MaybeInplace
from cutaway.ops.op import IrOp

PLAIN = (bool, int, float, complex, str, bytes, range, type(None), type(...), type(NotImplemented))
TORCH_VALUES = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.qscheme, torch.finfo, torch.iinfo)
BASES = (bool, int, float, complex, str, bytes)  # of user's own numbers and texts
CONTAINERS = (dict, list, tuple, set, frozenset)
_IN_C = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
NOT_READ = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.local,
    io.IOBase,
)  # nothing in one can be compiled in
METHODS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
_NO_STATE = (object, types.SimpleNamespace, *CONTAINERS)  # written in C; all that they hold is walked
_OF_A_DEVICE = (torch.Generator, torch.Stream, torch.Event)


def digest_of(text: str) -> str:
    """A short digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def named(value: Any) -> str | None:
    """The text of what its name says all about; None for everything else."""
    if isinstance(value, (IrOp, MaybeInplace)):  # which implementations it runs is asked when all ops are known
        return f"{value!r} {value.schema}"
    operator = torch_internals.operator_name(value)
    if operator is not None:
        return operator
    if isinstance(value, _IN_C):
        owner = getattr(value, "__objclass__", None) or getattr(value, "__self__", None)
        if owner is None or isinstance(owner, (type, types.ModuleType)):
            path = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else value.__module__
            return f"{path}.{value.__name__}"
    if isinstance(value, logging.Logger):
        return f"logger {value.name}"
    if isinstance(value, fx.Graph):
        return f"graph {digest_of(str(value))}"
    if isinstance(value, _OF_A_DEVICE):
        return f"{type(value).__qualname__} {value.device}"
    group = torch_internals.process_group_name(value)
    if group is not None:
        return group
    return str(value) if isinstance(value, PurePath) else None


def attributes_of(module: torch.nn.Module) -> dict[str, Any]:
    """What stands on a module besides its weights and children, by name; of hooks only what they are, in order."""
    hidden = ("_parameters", "_buffers", "_modules", "_cutaway")
    return {
        name: list(value.values()) if _is_hooks(name, value) else value
        for name, value in sorted(vars(module).items())
        if name not in hidden and not name.startswith(("_state_dict_", "_load_state_"))
        if not (_is_hooks(name, value) and not value)
    }


def _is_hooks(name: str, value: Any) -> bool:
    """Hooks are numbered through the process: only what they are, and their order, counts."""
    return name.startswith(("_forward_", "_backward_")) and isinstance(value, dict)


def tensor_text(value: torch.Tensor | None) -> str:
    """A tensor without its content: it is an input of the graph."""
    if value is None:
        return "None"
    strides = list(value.stride()) if value.layout == torch.strided else str(value.layout)
    kind = "" if type(value) in (torch.Tensor, torch.nn.Parameter) else f" {type(value).__qualname__}"
    return f"{value.dtype}{list(value.shape)}{strides}{value.device}{'g' if value.requires_grad else ''}{kind}"


def code_text(code: types.CodeType) -> str:
    """Digest of what a function does: names of files and lines do not count."""
    constants = [
        code_text(one)
        if isinstance(one, types.CodeType)
        else repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one)
        for one in code.co_consts
    ]
    return digest_of(repr((code.co_code, code.co_names, code.co_freevars, constants)))


def in_slots(value: Any) -> Mapping[str, Any]:
    names = [name for base in type(value).__mro__ for name in _slots_of(base)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    return [name for name in ([slots] if isinstance(slots, str) else slots) if name not in ("__dict__", "__weakref__")]


def cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def written_out(value: Any) -> str | None:
    """An array or a number of NumPy's, or a number or text of a class of the user's; None for everything else.

    An array is an input of the graph, as a tensor is; a number is compiled in.
    """
    if all(hasattr(value, name) for name in ("dtype", "shape", "strides", "item")):
        return f"{value.dtype}{list(value.shape)}{list(value.strides)}" if value.shape else repr(value)
    base: Any = next((base for base in BASES if isinstance(value, base)), None)
    return None if base is None else base.__repr__(value)


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class statement makes such types
_WORD = object.__basicsize__ // 2


def holds_no_more(value: Any) -> bool:
    """Whether attributes and slots are all that an object holds: it is as large as these make it, and no more."""
    kind = type(value)
    base = next(base for base in kind.__mro__ if base in _NO_STATE)
    made = [one for one in kind.__mro__ if one not in _NO_STATE]
    slots = sum(len(_slots_of(one)) for one in made)
    in_python = all(one.__flags__ & _HEAP for one in made) and not type(kind).__module__.startswith(("pybind", "nano"))
    return in_python and kind.__basicsize__ <= base.__basicsize__ + (slots + 2) * _WORD  # two: __dict__, __weakref__
