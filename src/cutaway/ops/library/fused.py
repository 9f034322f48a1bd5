"""Normalisation and quantisation in one: what fusions put in the place of the two, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cutaway.ops import kernels, register_op
from cutaway.ops.library.inputs import make_rows, make_weight
from cutaway.ops.library.layernorm import check_residual, check_weight, fused_add_rms_norm, rms_norm
from cutaway.ops.library.quantization import RANGES, check_dtype, check_scale, dynamic_per_token_quant, static_quant

_norm = rms_norm.impls["native"].function
_add_norm = fused_add_rms_norm.impls["native"].function
_static = static_quant.impls["native"].function
_dynamic = dynamic_per_token_quant.impls["native"].function


@register_op
def rms_norm_static_quant(
    x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> Tensor:
    """``static_quant(rms_norm(x, weight, epsilon), scale, dtype)``; what is normalised is rounded to x's dtype between.

    Args:
        x: ``[..., hidden]``, floating point.
        weight, epsilon: as in `rms_norm`.
        scale, dtype: as in `static_quant`.

    Returns:
        x's shape, that dtype, contiguous.

    Raises:
        OpError: as the two.

    Source: vLLM's ``rms_norm_static_fp8_quant``.
    """
    return _static(_norm(x, weight, epsilon), scale, dtype)


@rms_norm_static_quant.register_fake
def rms_norm_static_quant_fake(
    x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> Tensor:
    _check("rms_norm_static_quant", x, weight, dtype, scale)
    return kernels.new_like(x, dtype=dtype)


def _static_readable(x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype) -> bool:
    return kernels.takes(x, weight, scale)


@rms_norm_static_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_static_readable, sources=kernels.SOURCES
)
def rms_norm_static_quant_cpp(
    x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> Tensor:
    """One pass over x."""
    _check("rms_norm_static_quant", x, weight, dtype, scale)
    return kernels.ops.rms_norm_static_quant.default(x, weight, scale, epsilon, dtype)


@register_op
def rms_norm_dynamic_quant(
    x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """``dynamic_per_token_quant(rms_norm(x, weight, epsilon), dtype)``; rounded to x's dtype between.

    Args:
        x: ``[..., hidden]``, floating point.
        weight, epsilon: as in `rms_norm`.
        dtype: as in `dynamic_per_token_quant`.

    Returns:
        x's shape, that dtype; and the scales, float32 ``[..., 1]``; both contiguous.

    Raises:
        OpError: as the two.

    Source: vLLM's ``rms_norm_dynamic_per_token_quant``.
    """
    return _dynamic(_norm(x, weight, epsilon), dtype)


@rms_norm_dynamic_quant.register_fake
def rms_norm_dynamic_quant_fake(
    x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    _check("rms_norm_dynamic_quant", x, weight, dtype)
    return kernels.new_like(x, dtype=dtype), kernels.new_like(x, 1, torch.float32)


def _dynamic_readable(x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype) -> bool:
    return kernels.takes(x, weight)


@rms_norm_dynamic_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_dynamic_readable, sources=kernels.SOURCES
)
def rms_norm_dynamic_quant_cpp(
    x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One pass over x."""
    _check("rms_norm_dynamic_quant", x, weight, dtype)
    return kernels.ops.rms_norm_dynamic_quant.default(x, weight, epsilon, dtype)


@register_op
def fused_add_rms_norm_static_quant(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`fused_add_rms_norm`, and `static_quant` of what was normalised; rounded to x's dtype between.

    Args:
        x: ``[..., hidden]``, floating point.
        x_residual: as x.
        weight, epsilon: as in `rms_norm`.
        scale, dtype: as in `static_quant`.

    Returns:
        x's shape, that dtype; and the sum, as x; both contiguous.

    Raises:
        OpError: as the two.

    Source: vLLM's ``fused_add_rms_norm_static_fp8_quant``.
    """
    normed, residual = _add_norm(x, x_residual, weight, epsilon)
    return _static(normed, scale, dtype), residual


@fused_add_rms_norm_static_quant.register_fake
def fused_add_rms_norm_static_quant_fake(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    _check("fused_add_rms_norm_static_quant", x, weight, dtype, scale, x_residual)
    return kernels.new_like(x, dtype=dtype), kernels.new_like(x)


def _add_static_readable(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> bool:
    return kernels.takes(x, x_residual, weight, scale)


@fused_add_rms_norm_static_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_add_static_readable, sources=kernels.SOURCES
)
def fused_add_rms_norm_static_quant_cpp(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One pass over x and x_residual."""
    _check("fused_add_rms_norm_static_quant", x, weight, dtype, scale, x_residual)
    return kernels.ops.fused_add_rms_norm_static_quant.default(x, x_residual, weight, scale, epsilon, dtype)


@register_op
def fused_add_rms_norm_dynamic_quant(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """`fused_add_rms_norm`, and `dynamic_per_token_quant` of what was normalised; rounded to x's dtype between.

    Args:
        x: ``[..., hidden]``, floating point.
        x_residual: as x.
        weight, epsilon: as in `rms_norm`.
        dtype: as in `dynamic_per_token_quant`.

    Returns:
        x's shape, that dtype; the scales, float32 ``[..., 1]``; and the sum, as x; all contiguous.

    Raises:
        OpError: as the two.

    Source: vLLM's ``rms_norm_dynamic_per_token_quant`` with a residual.
    """
    normed, residual = _add_norm(x, x_residual, weight, epsilon)
    quantised, scales = _dynamic(normed, dtype)
    return quantised, scales, residual


@fused_add_rms_norm_dynamic_quant.register_fake
def fused_add_rms_norm_dynamic_quant_fake(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    _check("fused_add_rms_norm_dynamic_quant", x, weight, dtype, None, x_residual)
    return kernels.new_like(x, dtype=dtype), kernels.new_like(x, 1, torch.float32), kernels.new_like(x)


def _add_dynamic_readable(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> bool:
    return kernels.takes(x, x_residual, weight)


@fused_add_rms_norm_dynamic_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_add_dynamic_readable, sources=kernels.SOURCES
)
def fused_add_rms_norm_dynamic_quant_cpp(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass over x and x_residual."""
    _check("fused_add_rms_norm_dynamic_quant", x, weight, dtype, None, x_residual)
    return kernels.ops.fused_add_rms_norm_dynamic_quant.default(x, x_residual, weight, epsilon, dtype)


def _make(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, layout: str
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """x, a residual, a weight and a scale with which some entries are clamped."""
    x, residual = (make_rows(layout, num_tokens, hidden, dtype) for _ in range(2))
    return x, residual, make_weight(weight, hidden, dtype), torch.tensor(0.0071)


_AXES: dict[str, Sequence[Any]] = {
    "hidden": (96, 101),
    "weight": ("own", "none"),
    "target": tuple(RANGES),
    "layout": ("rows", "sliced", "transposed"),
}


@rms_norm_static_quant.register_input_generator(**_AXES)
def rms_norm_static_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    x, _, factors, scale = _make(dtype, num_tokens, hidden, weight, layout)
    return x, factors, scale, 1e-6, target


@rms_norm_dynamic_quant.register_input_generator(**_AXES)
def rms_norm_dynamic_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    x, _, factors, _ = _make(dtype, num_tokens, hidden, weight, layout)
    return x, factors, 1e-6, target


@fused_add_rms_norm_static_quant.register_input_generator(**_AXES)
def fused_add_rms_norm_static_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    x, residual, factors, scale = _make(dtype, num_tokens, hidden, weight, layout)
    return x, residual, factors, scale, 1e-6, target


@fused_add_rms_norm_dynamic_quant.register_input_generator(**_AXES)
def fused_add_rms_norm_dynamic_quant_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, target: torch.dtype, layout: str
) -> tuple[Any, ...]:
    x, residual, factors, _ = _make(dtype, num_tokens, hidden, weight, layout)
    return x, residual, factors, 1e-6, target


def _check(
    op: str,
    x: Tensor,
    weight: Tensor | None,
    dtype: torch.dtype,
    scale: Tensor | None = None,
    x_residual: Tensor | None = None,
) -> None:
    if x_residual is not None:
        check_residual(op, x, x_residual)
    check_weight(op, x, weight)
    if scale is not None:
        check_scale(op, scale)
    check_dtype(op, dtype)


# A row's largest entry may be rounded to its neighbour in x's dtype, and its scale goes with it.
for _op in (rms_norm_dynamic_quant, fused_add_rms_norm_dynamic_quant):
    _op.override_tolerance(torch.float32, atol=1e-5, rtol=torch.finfo(torch.bfloat16).eps)
