"""Which dimensions vary from call to call (the batch: the number of tokens), and how Dynamo is told."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import torch

from cutaway import torch_internals
from cutaway.compiler.config import DynamicShapes
from cutaway.errors import CaptureError

#: Argument -> the dimension or dimensions that vary; negative ones count from the last.
DynamicArgDims = Mapping[str, int | Sequence[int]]


def infer_dynamic_dims(forward: Callable[..., Any]) -> dict[str, int]:
    """Dimension 0 of every argument that is annotated as a tensor (``torch.Tensor``, ``Tensor | None``, ...).

    This is the rule of vLLM's ``support_torch_compile``.

    Raises:
        CaptureError: no argument is annotated so.
    """
    found: dict[str, int] = {}
    for name, parameter in inspect.signature(forward).parameters.items():
        note = parameter.annotation
        text = note if isinstance(note, str) else getattr(note, "__name__", "") + " " + str(note)
        if note is not inspect.Parameter.empty and "Tensor" in text and "list" not in text.lower():
            found[name] = 0
    if not found:
        raise CaptureError(
            f"no dynamic dimension is known of {getattr(forward, '__qualname__', forward)}",
            "none of its arguments is annotated as a tensor",
            'give dynamic_arg_dims={"input_ids": 0} or annotate the arguments',
        )
    return found


def check_dynamic_dims(forward: Callable[..., Any], dims: DynamicArgDims) -> None:
    """Raises CaptureError when an argument is named that the function does not take."""
    parameters = inspect.signature(forward).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in dims:
        if name not in parameters and not anything:
            raise CaptureError(
                f"dynamic_arg_dims names {name!r}, which {getattr(forward, '__qualname__', forward)} does not take",
                cure=f"its arguments are {', '.join(parameters)}",
            )


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The tensors that an argument is or holds (vLLM's ``IntermediateTensors`` holds them in ``.tensors``)."""
    if isinstance(value, torch.Tensor):
        return [value]
    inside = getattr(value, "tensors", value)
    if _is_mapping(inside):
        return [part for part in inside.values() if isinstance(part, torch.Tensor)]
    if isinstance(inside, (tuple, list)):
        return [part for part in inside if isinstance(part, torch.Tensor)]
    return []


def _is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def dims_of(dims: int | Sequence[int], tensor: torch.Tensor) -> list[int]:
    """Dimensions of a tensor, counted from the first."""
    return [dim % tensor.ndim for dim in ([dims] if isinstance(dims, int) else dims)]


def mark_dynamic(arguments: Mapping[str, Any], dims: DynamicArgDims, kind: DynamicShapes) -> list[int]:
    """Tell Dynamo which dimensions of the example arguments vary.

    All of them are one size, the batch; those that differ in the example are kept apart by Dynamo itself.

    Returns:
        The sizes of the marked dimensions, as they are in the example.

    Raises:
        CaptureError: a named argument holds no tensor.
    """
    sizes: list[int] = []
    for name, which in dims.items():
        value = arguments.get(name)
        if value is None:
            continue
        tensors = tensors_of(value)
        if not tensors:
            raise CaptureError(
                f"the argument {name!r} is a {type(value).__name__} and has no dimension to vary",
                cure="leave it out of dynamic_arg_dims",
            )
        for tensor in tensors:
            for dim in dims_of(which, tensor):
                size = tensor.shape[dim]
                sizes.append(size)
                if kind is DynamicShapes.UNBACKED:
                    torch_internals.mark_unbacked(tensor, dim)
                else:
                    torch_internals.mark_dynamic(tensor, dim)
    return sizes


def widened(arguments: dict[str, Any], dims: DynamicArgDims) -> dict[str, Any]:
    """Arguments to capture with: where the batch is 0 or 1, twice that, for Dynamo takes 0 and 1 for constants.

    Capturing looks at dtypes and sizes, never at values, so what stands in the new rows does not matter.
    """
    changed = dict(arguments)
    for name, which in dims.items():
        value = arguments.get(name)
        if isinstance(value, torch.Tensor):
            for dim in dims_of(which, value):
                if value.shape[dim] < 2:
                    shape = list(value.shape)
                    shape[dim] = 2
                    value = value.new_zeros(shape)
            changed[name] = value
    return changed
