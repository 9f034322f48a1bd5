"""Normalisation and quantisation in one: what fusions put in the place of the two, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from cutaway.ops import kernels, register_op
from cutaway.ops.library.layernorm import check_residual, check_weight, fused_add_rms_norm, rms_norm
from cutaway.ops.library.quantization import check_dtype, check_scale, dynamic_per_token_quant, static_quant

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


def _static_quant_readable(x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype) -> bool:
    return kernels.takes(x, weight, scale)


@rms_norm_static_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_static_quant_readable, sources=kernels.SOURCES
)
def rms_norm_static_quant_cpp(
    x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> Tensor:
    """One pass over x."""
    check_weight("rms_norm_static_quant", x, weight)
    check_dtype("rms_norm_static_quant", dtype)
    check_scale("rms_norm_static_quant", scale)
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


def _dynamic_quant_readable(x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype) -> bool:
    return kernels.takes(x, weight)


@rms_norm_dynamic_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_dynamic_quant_readable, sources=kernels.SOURCES
)
def rms_norm_dynamic_quant_cpp(
    x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One pass over x."""
    check_weight("rms_norm_dynamic_quant", x, weight)
    check_dtype("rms_norm_dynamic_quant", dtype)
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


def _added_static_quant_readable(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> bool:
    return kernels.takes(x, x_residual, weight, scale)


@fused_add_rms_norm_static_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_added_static_quant_readable, sources=kernels.SOURCES
)
def fused_add_rms_norm_static_quant_cpp(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """One pass over x and x_residual."""
    check_residual("fused_add_rms_norm_static_quant", x, x_residual)
    check_weight("fused_add_rms_norm_static_quant", x, weight)
    check_dtype("fused_add_rms_norm_static_quant", dtype)
    check_scale("fused_add_rms_norm_static_quant", scale)
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


def _added_dynamic_quant_readable(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> bool:
    return kernels.takes(x, x_residual, weight)


@fused_add_rms_norm_dynamic_quant.register_impl(
    "cpp", supported=kernels.available(), supports_args=_added_dynamic_quant_readable, sources=kernels.SOURCES
)
def fused_add_rms_norm_dynamic_quant_cpp(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass over x and x_residual."""
    check_residual("fused_add_rms_norm_dynamic_quant", x, x_residual)
    check_weight("fused_add_rms_norm_dynamic_quant", x, weight)
    check_dtype("fused_add_rms_norm_dynamic_quant", dtype)
    return kernels.ops.fused_add_rms_norm_dynamic_quant.default(x, x_residual, weight, epsilon, dtype)
