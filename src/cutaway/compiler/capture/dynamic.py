"""Which dimensions vary from call to call (the batch: the number of tokens), and how Dynamo is told."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
    """Raises CaptureError when an argument is named that the function does not take, or a dimension is no number."""
    parameters = inspect.signature(forward).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in dims:
        if name not in parameters and not anything:
            raise CaptureError(
                f"dynamic_arg_dims names {name!r}, which {getattr(forward, '__qualname__', forward)} does not take",
                _nearest(name, parameters),
                f"its arguments are {', '.join(parameters)}",
            )
        numbers: Any = dims[name] if isinstance(dims[name], (tuple, list)) else [dims[name]]
        if not all(type(number) is int for number in numbers):
            raise CaptureError(
                f"dynamic_arg_dims gives {dims[name]!r} for {name!r}",
                "a dimension is a number, counted from 0, or from -1 for the last",
                f'write {{"{name}": 0}}, or a tuple of several',
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}" if near else ""


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
    """Dimensions of a tensor, counted from the first. Raises CaptureError when it has no such dimension."""
    found = [dims] if isinstance(dims, int) else list(dims)
    for dim in found:
        if not -tensor.ndim <= dim < tensor.ndim:
            raise CaptureError(
                f"dynamic_arg_dims names dimension {dim} of a tensor that has {tensor.ndim}",
                f"its shape is {list(tensor.shape)}",
                "correct the dimension",
            )
    return [dim % tensor.ndim for dim in found]


@contextmanager
def marked_dynamic(
    arguments: Mapping[str, Any], dims: DynamicArgDims, kind: DynamicShapes
) -> Generator[tuple[int, ...]]:
    """Within the block, Dynamo knows which dimensions of the example arguments vary.

    All of them are one size, the batch; those that differ in the example are kept apart by Dynamo itself. The
    caller's tensors bear no mark afterwards: they may go to another model, with other dimensions.

    Yields:
        The sizes of the marked dimensions, as they are in the example.

    Raises:
        CaptureError: a named argument holds no tensor, or has no such dimension.
    """
    with ExitStack() as undo:
        for name in dims:
            for tensor in tensors_of(arguments.get(name)):
                undo.enter_context(torch_internals.marks_undone(tensor))
        yield tuple(_mark(arguments, dims, kind))


def _mark(arguments: Mapping[str, Any], dims: DynamicArgDims, kind: DynamicShapes) -> Generator[int]:
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
                yield tensor.shape[dim]
                if kind is DynamicShapes.UNBACKED:
                    torch_internals.mark_unbacked(tensor, dim)
                else:
                    torch_internals.mark_dynamic(tensor, dim)


def widened(arguments: dict[str, Any], dims: DynamicArgDims) -> dict[str, Any]:
    """Arguments to capture with: where the batch is 0 or 1, twice that, for Dynamo takes 0 and 1 for constants.

    Capturing looks at dtypes and sizes, never at values, so what stands in the new rows does not matter. A tensor that
    is given twice is copied: Dynamo would make one input of the two, for every later call.
    """
    changed = dict(arguments)
    seen: set[int] = set()
    for name, value in arguments.items():
        if isinstance(value, torch.Tensor):
            if id(value) in seen:
                changed[name] = value.clone()
            seen.add(id(value))
    for name, which in dims.items():
        value = changed.get(name)
        if isinstance(value, torch.Tensor):
            for dim in dims_of(which, value):
                if value.shape[dim] < 2:
                    shape = list(value.shape)
                    shape[dim] = 2
                    value = _zeros_like(value, shape)
            changed[name] = value
    return changed


def _zeros_like(value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Zeros of another shape, laid out as a tensor is: strides are held at every call."""
    if value.is_contiguous():
        return value.new_zeros(shape)
    return value.new_empty_strided(shape, value.stride()).zero_()
