"""Inputs copied to where they always are, for a CUDA graph reads addresses, not arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from cutaway.errors import InputError


def make_copy_and_call(
    sym_tensor_indices: Sequence[int], input_buffers: Sequence[torch.Tensor], callable_fn: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that copies inputs whose size varies into static buffers, and calls with those.

    The name and the idea are vLLM's (``compilation/backends.py``).

    Args:
        sym_tensor_indices: positions of these inputs: tensors whose first dimension is the batch.
        input_buffers: one for each: same dtype, device and further dimensions, first dimension the largest batch.
        callable_fn: what is called with the flat arguments, slices of the buffers in place of these.

    Returns:
        ``(*flat_args) -> output of callable_fn``. It raises an :class:`~cutaway.errors.InputError` for a tensor that
        does not fit into its buffer.
    """
    copies = tuple(zip(sym_tensor_indices, input_buffers, strict=True))

    def copy_and_call(*args: Any) -> Any:
        flat = list(args)
        for index, buffer in copies:
            given = flat[index]
            static = buffer[: given.shape[0]]
            if static.shape != given.shape:  # copy_ would broadcast
                raise _does_not_fit(index, given, buffer)
            static.copy_(given)
            flat[index] = static
        return callable_fn(*flat)

    return copy_and_call


def _does_not_fit(index: int, given: torch.Tensor, buffer: torch.Tensor) -> InputError:
    return InputError(
        f"input {index} of shape {list(given.shape)} does not fit into its buffer of shape {list(buffer.shape)}",
        "only the first dimension may vary, up to the largest batch",
        "give a smaller batch, or compile with a larger max_batch",
    )
