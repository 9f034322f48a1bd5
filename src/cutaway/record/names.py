"""What a graph's parts are called where the model was written: operators, layers, lines of Python, inputs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals

Path = tuple[str, ...]
"""Layers, outermost first, each as ``"fqn: class"``."""
Source = tuple[str, int, str, str]
"""A line of Python: its file, number, function and code."""

TORCH_FILES = str(torch.__file__).removesuffix("__init__.py")
"""What file names of torch's own code begin with. (A folder of the user's may be called torch, too.)"""
_ROOTS = ("self", "fn")  # "fn": what Dynamo's own frame around a module of torch (nn.Sequential) calls it
_ROOT_SOURCES = tuple(f"L['{name}']" for name in _ROOTS)
_ITEM = re.compile(r"\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]")
_FRAME = re.compile(r'File "([^"]*)", line (\d+), in (.*)')
_MANGLED = re.compile(r"_(?:modules|parameters|buffers)_")


def target_name(target: Any) -> str:
    """A readable, stable name for what a node calls: ``aten.mm.default``, ``operator.getitem``."""
    overload = torch_internals.op_overload(target)
    if overload is not None and overload is target:
        return str(overload)
    if overload is not None:
        return str(target)
    if torch_internals.is_higher_order(target):
        return f"higher_order.{target.name()}"
    module = getattr(target, "__module__", None) or ""
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(target).__name__
    name = re.sub(r"pybind11_detail_function_record\w*\.", "", name)
    module = re.sub(r"\.pybind11_detail_function_record\w*", "", module)
    module = {"_operator": "operator", "torch._C._nn": "torch.nn.functional", "builtins": ""}.get(module, module)
    if not module and hasattr(torch, name) and getattr(torch, name) is target:
        module = "torch"
    name = name.replace("_VariableFunctionsClass.", "").replace("_VariableFunctions.", "")
    return f"{module}.{name}" if module else name


def layer_path(stack: Mapping[str, tuple[str, Any]] | None) -> Path | None:
    """``nn_module_stack`` as ``("Qwen3Model", "layers.0: Qwen3DecoderLayer", ...)``, outermost first."""
    if not stack:
        return None
    path: list[str] = []
    for where, owner in stack.values():
        name = owner if isinstance(owner, str) else getattr(owner, "__name__", str(owner))
        name = name.rsplit(".", 1)[-1]
        fqn = module_fqn(where)
        path.append(f"{fqn}: {name}" if fqn else name)
    return tuple(path)


@functools.cache
def module_fqn(source: str) -> str:
    """A Dynamo source as a dotted path below the compiled object: ``L['self'].layers.0.mlp`` -> ``layers.0.mlp``."""
    text = source.replace("._modules", "").replace("._parameters", "").replace("._buffers", "")
    text = _ITEM.sub(lambda match: "." + next(part for part in match.groups() if part is not None), text)
    parts = [part for part in text.split(".") if part]
    if parts and parts[0] in ("L", "G"):
        parts = parts[1:]
    if parts and parts[0] in _ROOTS:
        parts = parts[1:]
    return ".".join(parts)


def users_frame(stack_trace: str, library_files: tuple[str, ...]) -> Source | None:
    """The innermost frame of a stack trace that is not in a library; the innermost of all when there is none."""
    end = len(stack_trace)
    innermost = None
    while (start := stack_trace.rfind('File "', 0, end)) >= 0:
        lines = stack_trace[start:end].split("\n", 2)
        match = _FRAME.match(lines[0])
        if match is not None:
            code = lines[1].strip() if len(lines) > 1 else ""
            frame = (match.group(1), int(match.group(2)), match.group(3).strip(), code)
            if not any(part in frame[0] for part in library_files):
                return frame
            innermost = innermost or frame
        end = start
    return innermost


def input_path(node: fx.Node) -> str:
    """The model path of a placeholder (``self.layers.0.mlp.down_proj.weight``), or its name when unknown."""
    text = torch_internals.dynamo_source(node)
    if text is None:
        return readable_placeholder(node.name)
    owner, size, dimension = text.partition(".size()")
    fqn = module_fqn(owner) + size + dimension
    return f"self.{fqn}" if text.startswith(_ROOT_SOURCES) else fqn


def readable_placeholder(name: str) -> str:
    """Undo Dynamo's mangling of a weight's name: ``l_self_modules_mlp_parameters_weight_`` -> ``self.mlp.weight``.

    The mangling is lossy only for underscores at the end; a name that was not mangled is returned as it is.
    """
    if not name.startswith("l_") or not _MANGLED.search(name):
        return name
    return _MANGLED.sub(".", name.removeprefix("l_")).strip("_").replace("_.", ".")
