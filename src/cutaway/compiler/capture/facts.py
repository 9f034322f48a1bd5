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
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch

from cutaway import torch_internals

_DEEPEST = 4  # of objects within objects on a module


def model_facts(model: torch.nn.Module, forward: Callable[..., Any]) -> dict[str, Any]:
    """Everything about a live model that its captured graph depends on, as JSON values.

    Layers that are equal up to their names are written once: a list of names for each thing found.
    """
    found: dict[str, list[str]] = {}
    for name, module in model.named_modules():
        found.setdefault(_module(module), []).append(name)
    return {
        "forward": f"{forward.__module__}.{getattr(forward, '__qualname__', type(forward).__name__)}",
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


def _module(module: torch.nn.Module) -> str:
    """One module without its children: class, source, weights, and what stands on it."""
    kind = type(module)
    weights = [f"{name}:{_tensor(value)}" for name, value in torch_internals.weights_of(module)]
    hidden = ("_parameters", "_buffers", "_modules", "_cutaway")
    attributes = [
        f"{name}={_value(value, 0)}"
        for name, value in sorted(vars(module).items())
        if name not in hidden and not name.startswith(("_forward_", "_backward_", "_state_dict_", "_load_state_"))
    ]
    children = [f"{name}:{type(child).__qualname__}" for name, child in module.named_children()]
    source = _file_digest(kind.__module__) if not kind.__module__.startswith("torch.") else "torch"
    return "|".join(
        [f"{kind.__module__}.{kind.__qualname__}", source, ",".join(weights), ",".join(attributes), ",".join(children)]
    )


def _tensor(value: torch.Tensor | None) -> str:
    if value is None:
        return "None"
    return f"{value.dtype}{list(value.shape)}{list(value.stride())}{value.device}{'g' if value.requires_grad else ''}"


def _value(value: Any, depth: int) -> str:
    """An attribute as text that is the same in every process; objects by class and attributes, some levels deep."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return _tensor(value)
    if isinstance(value, (FunctionType, MethodType, type)) or inspect.isbuiltin(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, ModuleType):
        return value.__name__
    if depth >= _DEEPEST or isinstance(value, torch.nn.Module):
        return f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, dict):
        parts = sorted(f"{_value(key, depth + 1)}:{_value(part, depth + 1)}" for key, part in value.items())
        return "{" + ",".join(parts) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_value(part, depth + 1) for part in value) + "]"
    if isinstance(value, (set, frozenset)):
        return "{" + ",".join(sorted(_value(part, depth + 1) for part in value)) + "}"
    inside = getattr(value, "__dict__", None)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return f"{kind}{_value(dict(inside), depth + 1)}" if inside else kind


def _tied(model: torch.nn.Module) -> list[list[str]]:
    """Weights that are one tensor under several names: Dynamo makes one input of them."""
    names: dict[int, list[str]] = {}
    for name, value in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        names.setdefault(id(value), []).append(name)
    return sorted(group for group in names.values() if len(group) > 1)
