"""What a captured model depends on, learnt without capturing it: the key of a warm start that runs no Dynamo.

Dynamo compiles in what the model's Python reads: classes, their sources, numbers and texts on the modules, shapes and
dtypes of weights. All of that is written down here from the live model. What it reads elsewhere (a global of a module
that is changed while the program runs) cannot be seen; the files that were traced are kept with the captured model,
and a file that changed makes it void.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.ops.inplace import MaybeInplace
from cutaway.ops.op import IrOp

_DEEPEST = 10  # of objects within objects on a module
_PLAIN = (bool, int, float, complex, str, bytes, range, slice, torch.dtype, torch.device)


def model_facts(model: torch.nn.Module, forward: Callable[..., Any]) -> dict[str, Any]:
    """Everything about a live model that its captured graph depends on, as JSON values.

    Layers that are equal up to their names are written once: a list of names for each thing found.
    """
    found: dict[str, list[str]] = {}
    classes: dict[type, str] = {}
    for name, module in model.named_modules():
        found.setdefault(_module(module, classes), []).append(name)
    return {
        "forward": _Text().of(getattr(forward, "__func__", forward)),
        "training": model.training,
        "modules": {digest_of(text): {"is": text, "names": names} for text, names in found.items()},
        "tied": _tied(model),
    }


def digest_of(text: str) -> str:
    """A short digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source_digests(modules: Iterable[str]) -> dict[str, str]:
    """Digest of the source file of every module named, by name; ``"?"`` where there is none to read."""
    return {name: _file_digest(name) for name in modules}


def _file_digest(name: str) -> str:
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None:
        return "?"
    try:
        return _digest_of_file(path, Path(path).stat().st_mtime_ns)
    except OSError:
        return "?"


@functools.lru_cache(maxsize=4096)
def _digest_of_file(path: str, changed_at: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _module(module: torch.nn.Module, classes: dict[type, str]) -> str:
    """One module without its children: class, source, weights, and what stands on it."""
    kind = type(module)
    if kind not in classes:
        classes[kind] = _class(kind)
    weights = [f"{name}:{_tensor(value)}" for name, value in torch_internals.weights_of(module)]
    hidden = ("_parameters", "_buffers", "_modules", "_cutaway")
    attributes = [
        f"{name}={_Text().of(list(value.values()) if _is_hooks(name, value) else value)}"
        for name, value in sorted(vars(module).items())
        if name not in hidden and not name.startswith(("_state_dict_", "_load_state_"))
        if not (_is_hooks(name, value) and not value)
    ]
    children = [f"{name}:{type(child).__qualname__}" for name, child in module.named_children()]
    return "|".join(
        [f"{kind.__module__}.{kind.__qualname__}", classes[kind], ",".join(weights), ",".join(attributes), *children]
    )


def _is_hooks(name: str, value: Any) -> bool:
    """Hooks are numbered through the process: only what they are, and their order, counts."""
    return name.startswith(("_forward_", "_backward_")) and isinstance(value, dict)


def _class(kind: type) -> str:
    """What a class is made of: its source, and the methods and values that stand on it now, patched ones as well."""
    if kind.__module__.startswith("torch."):
        return "torch"
    own = [base for base in kind.__mro__ if base is not object and not base.__module__.startswith("torch.")]
    parts = [
        f"{base.__qualname__}.{name}={_Text().of(value)}"
        for base in own
        for name, value in sorted(vars(base).items())
        if not name.startswith("__") or name == "__call__"
    ]
    return f"{_file_digest(kind.__module__)} {digest_of(';'.join(parts))}"


def _tensor(value: torch.Tensor | None) -> str:
    if value is None:
        return "None"
    return f"{value.dtype}{list(value.shape)}{list(value.stride())}{value.device}{'g' if value.requires_grad else ''}"


class _Text:
    """One attribute as text that is the same in every process; what is met again in it is written as a number."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._held: list[Any] = []  # so that no number is given to another object

    def of(self, value: Any, depth: int = 0) -> str:
        """The text; objects by class and attributes, functions by their code and what they close over."""
        if value is None or isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, type) or inspect.isbuiltin(value):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, (IrOp, MaybeInplace)):  # which implementations it runs is asked when all ops are known
            return f"{value!r} {value.schema}"
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if depth >= _DEEPEST or isinstance(value, torch.nn.Module):
            return kind
        if id(value) in self._met:
            return f"#{self._met[id(value)]}"
        self._met[id(value)] = len(self._met)
        self._held.append(value)
        return self._inside(value, kind, depth + 1)

    def _inside(self, value: Any, kind: str, depth: int) -> str:
        if isinstance(value, dict):
            items = sorted(f"{self.of(key, depth)}:{self.of(part, depth)}" for key, part in value.items())
            return "{" + ",".join(items) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ",".join(self.of(part, depth) for part in value) + "]"
        if isinstance(value, (set, frozenset)):
            return "{" + ",".join(sorted(self.of(part, depth) for part in value)) + "}"
        if isinstance(value, FunctionType):
            parts: list[Any] = [value.__defaults__, value.__kwdefaults__, *map(_content, value.__closure__ or ())]
            return f"{value.__module__}.{value.__qualname__} {_code(value.__code__)}{self.of(parts, depth)}"
        if isinstance(value, MethodType):
            return f"{self.of(value.__func__, depth)} of {self.of(value.__self__, depth)}"
        if isinstance(value, functools.partial):
            return f"partial{self.of([value.func, value.args, value.keywords], depth)}"
        if isinstance(value, (staticmethod, classmethod)):
            return f"{kind} {self.of(value.__func__, depth)}"
        if isinstance(value, property):
            return f"{kind} {self.of([value.fget], depth)}"
        if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of NumPy's
            return f"{kind} {value!r}"
        slots = [name for base in type(value).__mro__ for name in _slots_of(base) if hasattr(value, name)]
        inside = {**(getattr(value, "__dict__", None) or {}), **{name: getattr(value, name) for name in slots}}
        return f"{kind}{self.of(inside, depth)}" if inside else kind


def _slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    return [name for name in ([slots] if isinstance(slots, str) else slots) if name not in ("__dict__", "__weakref__")]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _code(code: CodeType) -> str:
    """Digest of what a function does: names of files and lines do not count."""
    constants = [
        _code(one) if isinstance(one, CodeType) else repr(sorted(map(repr, one)) if isinstance(one, frozenset) else one)
        for one in code.co_consts
    ]
    return digest_of(repr((code.co_code, code.co_names, code.co_freevars, constants)))


def _tied(model: torch.nn.Module) -> list[list[str]]:
    """Weights that are one tensor under several names: Dynamo makes one input of them."""
    names: dict[int, list[str]] = {}
    for name, value in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        names.setdefault(id(value), []).append(name)
    return sorted(group for group in names.values() if len(group) > 1)
