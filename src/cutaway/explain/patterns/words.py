"""How nodes, operators and arguments of patterns are written in a reason."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.layers.words import short_dtype, short_target
from cutaway.record.names import target_name

_LONG = 60
_CASTS = ("_to_copy", "convert_element_type", "to", "type_as")
_VIEWS = (
    "view", "reshape", "_unsafe_view", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "contiguous",
    "clone", "alias", "slice",
)  # fmt: skip


def named(node: fx.Node) -> str:
    """A node's name in the dump."""
    return str(node.meta.get("cutaway_name", node.name))


def called(what: Any) -> str:
    """The operator of a node, or of a part of a pattern, as people say it."""
    target = what.fns[0] if hasattr(what, "fns") else what.target if isinstance(what, fx.Node) else None
    if target is None:
        return type(what).__name__
    name = target if isinstance(target, str) else short_target(target_name(target))
    return name.removeprefix("operator.")


def typed(node: fx.Node) -> str:
    """A node's dtype and sizes, such as ``f32[2, 256]``; empty when unknown or several."""
    known = node.meta.get("cutaway_type")  # with the dump's names of the sizes
    if known is not None:
        return str(known)
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return ""
    dtype = short_dtype(str(value.dtype).removeprefix("torch."))
    return f"{dtype}[{', '.join(map(str, value.shape))}]"


def shown(value: Any) -> str:
    """A value that stands in a graph: a node with what it is, or a constant."""
    if not isinstance(value, fx.Node):
        text = repr(value)
        return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
    if value.op == "placeholder":
        return f"the input {named(value)}"
    return f"{named(value)} = {called(value)}" if value.op.startswith("call_") else named(value)


def argument_name(node: fx.Node, pattern: Any, index: int) -> str:
    """What the operator calls the ``index``-th of its flattened arguments; empty when that is not known."""
    keywords = list(pattern.kwargs)
    flat = len(pattern.flat_args_kwargs[0])
    if flat == len(pattern.args) + len(keywords):
        if index >= len(pattern.args):
            return keywords[index - len(pattern.args)]
        return _parameter(node, index)
    at = 0
    for position, value in enumerate((*pattern.args, *pattern.kwargs.values())):
        size = len(value) if isinstance(value, (list, tuple)) else 1
        if at <= index < at + size:
            name = (
                _parameter(node, position) if position < len(pattern.args) else keywords[position - len(pattern.args)]
            )
            return f"{name}[{index - at}]" if isinstance(value, (list, tuple)) else name
        at += size
    return ""


def _parameter(node: fx.Node, position: int) -> str:
    overload = torch_internals.op_overload(node.target)
    names = torch_internals.names_of_arguments(overload) if overload is not None else []
    if getattr(node.target, "__name__", "") == "getitem":
        names = ["the tuple", "index"]
    return names[position] if position < len(names) else f"argument {position}"


def same_op_elsewhere(pattern: Any, node: Any) -> str:
    """What a node has in common with the operator that a pattern wants: its name, in another namespace or overload."""
    if not isinstance(node, fx.Node) or not node.op.startswith("call_"):
        return ""
    wanted, found = (
        _bare(target_name(target)) for target in (pattern.fns[0], node.target) if not isinstance(target, str)
    )
    if wanted == found:
        return (
            f"another overload or namespace of {found}: {target_name(node.target)}, not {target_name(pattern.fns[0])}"
        )
    return ""


def _bare(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) >= 3 else parts[-1]


def only_passes_on(target: Any) -> str:
    """What an operator that computes nothing changes: "dtype", "shape", or "" for one that computes something."""
    if isinstance(target, str):
        return "shape" if target in _VIEWS else "dtype" if target in _CASTS else ""
    name = _bare(target_name(target))
    return "dtype" if name in _CASTS else "shape" if name in _VIEWS else ""
