"""Quantisation of activations to eight bits: fp8 (e4m3fn) or int8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops import kernels, register_op
from cutaway.ops.library.inputs import LAYOUTS, make_rows

RANGES = {torch.float8_e4m3fn: (-448.0, 448.0), torch.int8: (-128.0, 127.0)}
"""The dtypes that there are, and the smallest and largest value of each."""

_SMALLEST = {torch.float8_e4m3fn: 1 / (448.0 * 512.0), torch.int8: 1e-10 / 127.0}


@register_op
def static_quant(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """``x / scale`` in eight bits, one scale for the whole tensor.

    Computed in float32: x times the reciprocal of scale; for int8 rounded, half to even; clamped to the range of the
    dtype; for fp8 rounded to nearest, ties to even.

    Args:
        x: ``[..., hidden]``, floating point.
        scale: one float32, of any shape; above 0.
        dtype: ``torch.float8_e4m3fn`` or ``torch.int8``.

    Returns:
        x's shape, that dtype, contiguous. NaN stays NaN in fp8; in int8 it is any value.

    Raises:
        OpError: there is no quantisation to that dtype, or not one scale.

    Source: vLLM's ``QuantFP8`` (static, per tensor) and ``static_scaled_int8_quant``.
    """
    check_dtype("static_quant", dtype)
    check_scale("static_quant", scale)
    return _quantised(x.to(torch.float32), scale.to(torch.float32).reshape(()), dtype)


@static_quant.register_fake
def static_quant_fake(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    check_dtype("static_quant", dtype)
    check_scale("static_quant", scale)
    return kernels.new_like(x, dtype=dtype)


def _static_readable(x: Tensor, scale: Tensor, dtype: torch.dtype) -> bool:
    return kernels.takes(x, scale)


@static_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_static_readable, sources=kernels.SOURCES
)
def static_quant_cpp(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """One pass over x."""
    check_dtype("static_quant", dtype)
    check_scale("static_quant", scale)
    return kernels.ops.static_quant.default(x, scale, dtype)


@register_op
def dynamic_per_token_quant(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``x / scale`` in eight bits, where each token's largest entry becomes the largest of the dtype.

    ``scale = max(abs(x)) / M``, over the last dimension, M being 448 (fp8) or 127 (int8); at least ``1 / (512 M)`` for
    fp8, ``1e-10 / M`` for int8. Then as `static_quant`.

    Args:
        x: ``[..., hidden]``, floating point.
        dtype: ``torch.float8_e4m3fn`` or ``torch.int8``.

    Returns:
        x's shape, that dtype; and the scales, float32 ``[..., 1]``; both contiguous.

    Raises:
        OpError: there is no quantisation to that dtype.

    Source: vLLM's ``QuantFP8`` (dynamic, per token) and ``per_token_quant_int8``.
    """
    check_dtype("dynamic_per_token_quant", dtype)
    largest = x.abs().amax(dim=-1, keepdim=True).to(torch.float32)
    scales = (largest / RANGES[dtype][1]).clamp(min=_SMALLEST[dtype]).contiguous()
    return _quantised(x.to(torch.float32), scales, dtype), scales


@dynamic_per_token_quant.register_fake
def dynamic_per_token_quant_fake(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    check_dtype("dynamic_per_token_quant", dtype)
    return kernels.new_like(x, dtype=dtype), kernels.new_like(x, 1, torch.float32)


def _dynamic_readable(x: Tensor, dtype: torch.dtype) -> bool:
    return kernels.takes(x)


@dynamic_per_token_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_dynamic_readable, sources=kernels.SOURCES
)
def dynamic_per_token_quant_cpp(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """One pass over x."""
    check_dtype("dynamic_per_token_quant", dtype)
    return kernels.ops.dynamic_per_token_quant.default(x, dtype)


@static_quant.register_input_generator(hidden=(96, 101), target=tuple(RANGES), layout=LAYOUTS)
def static_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    # Some entries are beyond the range, and are clamped.
    return make_rows(layout, num_tokens, hidden, dtype), torch.tensor([0.011]), target


@dynamic_per_token_quant.register_input_generator(hidden=(96, 101), target=tuple(RANGES), layout=LAYOUTS)
def dynamic_per_token_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    return make_rows(layout, num_tokens, hidden, dtype), target


def _quantised(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    scaled = x * scale.reciprocal()
    if dtype == torch.int8:
        scaled = scaled.round()
    return scaled.clamp(*RANGES[dtype]).to(dtype).contiguous()


def check_dtype(op: str, dtype: torch.dtype) -> None:
    """Refuse a dtype that nothing here quantises to."""
    if dtype not in RANGES:
        raise OpError(f"op '{op}' cannot quantise to {dtype}", cure=f"choose of {', '.join(map(str, RANGES))}")


def check_scale(op: str, scale: Tensor) -> None:
    """Refuse a scale for each token or channel: this is one for all."""
    if scale.numel() != 1:
        raise OpError(
            f"op '{op}' cannot use a scale of shape {list(scale.shape)}",
            "it takes one for the whole tensor",
            "give a tensor of one entry",
        )
