"""What a graph is, known apart from every key: an artifact under the right key may still be of another graph.

A key that lacks a factor, and a folder in which somebody has swapped files, both serve code for a graph that it was not
made of. So the identity of the graph is kept beside the artifact, and held against the graph at hand when it is loaded.
It is made here in its own way, from the live graph, so that a mistake in the key's fingerprint is not made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import torch
from torch import fx

_PLAIN = (bool, int, float, complex, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)


def identity_of(gm: fx.GraphModule) -> str:
    """Hex digest: operators in order, how they are wired, their constants, dtypes and fixed sizes of the inputs.

    Equal for graphs that differ in names and symbols alone; texts among the arguments may be names, and do not count.
    """
    numbers: dict[fx.Node, int] = {}
    lines: list[str] = []
    for number, node in enumerate(gm.graph.nodes):
        numbers[node] = number
        if node.op == "placeholder":
            lines.append(f"placeholder {_value(node.meta.get('example_value', node.meta.get('val')))}")
            continue
        target = node.target if node.op == "call_method" else _name(node.target) if callable(node.target) else ""
        lines.append(f"{node.op} {target} {_argument(node.args, numbers)} {_argument(node.kwargs, numbers)}")
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _name(target: Any) -> str:
    return str(getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(target).__name__)


def _value(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {value.device.type} {[_size(size) for size in value.shape]}"
    return type(value).__name__


def _size(size: Any) -> Any:
    return size if type(size) is int else "s"


def _argument(value: Any, numbers: Mapping[fx.Node, int]) -> str:
    if isinstance(value, fx.Node):
        return f"%{numbers.get(value)}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_argument(value[key], numbers)}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "[" + ",".join(_argument(one, numbers) for one in value) + "]"
    if isinstance(value, slice):
        return f"slice{_argument([value.start, value.stop, value.step], numbers)}"
    return repr(value) if type(value) in _PLAIN or isinstance(value, _PLAIN) else type(value).__name__
