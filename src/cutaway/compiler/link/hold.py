"""The inputs of a graph that may not change from call to call, weights above all, held at every call.

Compiled code reads memory as what it was when the graph was captured. A weight that has become another since
(``model.double()``, ``weight.data = ...``) would be read as that type, with those strides.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import InputError

_MOST_FORMS = 4  # of the same inputs: with and without inference mode, say


@dataclass(frozen=True)
class HeldInput:
    """A flat input all of whose sizes are numbers.

    Attributes:
        position: among the flat inputs.
        name: the weight's name, as in ``state_dict``, or where Dynamo found it.
        dtype, device: as torch writes them, ``float32`` and ``cuda:0``.
        shape, stride: in elements.
    """

    position: int
    name: str
    dtype: str
    device: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def wrong(self, value: torch.Tensor) -> str | None:
        """What about a tensor is not as it was; None when it may be read as what was compiled in."""
        if str(value.dtype) != f"torch.{self.dtype}":
            return f"its dtype is {value.dtype}, and was torch.{self.dtype}"
        if value.device != torch.device(self.device):
            return f"it is on {value.device}, and was on {self.device}"
        if tuple(value.shape) != self.shape:
            return f"its shape is {list(value.shape)}, and was {list(self.shape)}"
        strides = zip(value.shape, value.stride(), self.stride, strict=True)
        if value.numel() and any(size > 1 and now != was for size, now, was in strides):
            return f"its strides are {value.stride()}, and were {self.stride}"
        return None


def held_inputs(gm: fx.GraphModule) -> tuple[HeldInput, ...]:
    """The tensors among the inputs of a graph, as Dynamo hands it over, that have no symbolic size."""
    found: list[HeldInput] = []
    for position, node in enumerate(gm.graph.find_nodes(op="placeholder")):
        value = node.meta.get("example_value")
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            continue
        shape, stride = tuple(value.shape), tuple(value.stride())
        if all(type(number) is int for number in (*shape, *stride)):
            dtype = str(value.dtype).removeprefix("torch.")
            found.append(HeldInput(position, _name_of(node), dtype, str(value.device), shape, stride))
    return tuple(found)


def _name_of(node: fx.Node) -> str:
    source = torch_internals.source_of_input(node) or node.name
    parts = re.findall(r"\._(?:modules|parameters|buffers)\[['\"]([^'\"]+)['\"]\]", source)
    return ".".join(parts) or source


def hold_inputs(inputs: Sequence[HeldInput], call: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls ``call`` once these inputs are what they were.

    What was found right is remembered as Dynamo's guards, which look at all of them at once; only where those fail is
    each looked at by itself.

    Args:
        inputs: what to hold.
        call: takes the flat inputs.

    Returns:
        ``(*flat_args) -> output of call``. It raises an :class:`~cutaway.errors.InputError` that names what changed.
    """
    if not inputs:
        return call
    first, *others = (one.position for one in inputs)
    take: Callable[[tuple[Any, ...]], tuple[torch.Tensor, ...]]
    take = operator.itemgetter(first, *others) if others else lambda args: (args[first],)
    known: list[Callable[..., bool]] = []
    kinds: list[type] = []  # at the first call, which the capture was made for

    def held(*args: Any) -> Any:
        tensors = take(args)
        for is_known in known:
            if is_known(*tensors):
                return call(*args)
        kinds[:] = kinds or map(_kind, tensors)
        _check(inputs, kinds, tensors)
        known[:] = [torch_internals.tensor_guards(tensors), *known[: _MOST_FORMS - 1]]
        return call(*args)

    return held


def _kind(value: torch.Tensor) -> type:
    """The class of a tensor; a parameter is a tensor like another."""
    return torch.Tensor if type(value) is torch.nn.Parameter else type(value)


def _check(inputs: Sequence[HeldInput], kinds: Sequence[type], tensors: Sequence[torch.Tensor]) -> None:
    for one, kind, value in zip(inputs, kinds, tensors, strict=True):
        changed = f"it is a {type(value).__name__}, and was a {kind.__name__}" if _kind(value) is not kind else None
        text = changed or one.wrong(value)
        if text is not None:
            raise InputError(
                f"{one.name!r} is not as it was when the model was captured",
                text,
                "nothing is compiled again at run time: give the model what it had, or compile it after the change",
            )
