"""Root-mean-square layer normalisation, alone and after the residual is added."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (everybody's name for it)
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops import kernels, register_op
from cutaway.ops.library.inputs import LAYOUTS, make_rows, make_weight


@register_op
def rms_norm(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    """``x / sqrt(mean(x²) + epsilon) * weight``, the mean over the last dimension.

    Computed in float32; the normalised x is rounded to weight's dtype before it is multiplied, the product to x's.

    Args:
        x: ``[..., hidden]``, floating point.
        weight: ``[hidden]``, floating point, or None for no weight.
        epsilon: added to the mean of the squares.

    Returns:
        As x, contiguous.

    Raises:
        OpError: weight has another shape than ``[hidden]``.

    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019); vLLM's ``ir.ops.rms_norm``.
    """
    check_weight("rms_norm", x, weight)
    normed = x.to(torch.float32)
    variance = normed.pow(2).mean(dim=-1, keepdim=True)
    normed = normed * torch.rsqrt(variance + epsilon)
    if weight is not None:
        normed = normed.to(weight.dtype) * weight
    return normed.to(x.dtype).contiguous()


@rms_norm.register_fake
def rms_norm_fake(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    check_weight("rms_norm", x, weight)
    return kernels.new_like(x)


def _has_its_dtype(x: Tensor, weight: Tensor | None, epsilon: float) -> bool:
    return weight is None or weight.dtype == x.dtype


def _readable(x: Tensor, weight: Tensor | None, epsilon: float) -> bool:
    return kernels.takes(x, weight)


@rms_norm.register_impl("torch", supports_args=_has_its_dtype)
def rms_norm_torch(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    """torch's own operator; it rounds once, at the end."""
    check_weight("rms_norm", x, weight)
    return F.rms_norm(x, x.shape[-1:], weight, epsilon).contiguous()


@rms_norm.register_impl("cpp", supported=kernels.available(), supports_args=_readable, sources=kernels.SOURCES)
def rms_norm_cpp(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    """One pass over x."""
    check_weight("rms_norm", x, weight)
    return kernels.ops.rms_norm.default(x, weight, epsilon)


@register_op(allow_inplace=True)
def fused_add_rms_norm(x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor]:
    """``residual = x + x_residual`` and ``rms_norm(residual, weight, epsilon)``.

    The sum is rounded to x's dtype before it is normalised, as it is without the fusion. (vLLM's ``ir`` op normalises
    the sum as it was before rounding; its CUDA kernel does as this one.)

    Args:
        x: ``[..., hidden]``, floating point.
        x_residual: as x.
        weight, epsilon: as in `rms_norm`.

    Returns:
        The normalised sum, and the sum; both as x, contiguous. In place: x, x_residual.

    Raises:
        OpError: x and x_residual differ in shape or dtype, or weight has another shape than ``[hidden]``.

    Source: vLLM's ``ir.ops.fused_add_rms_norm``.
    """
    check_residual("fused_add_rms_norm", x, x_residual)
    residual = (x + x_residual).contiguous()
    return rms_norm.impls["native"].function(residual, weight, epsilon), residual


@fused_add_rms_norm.register_fake
def fused_add_rms_norm_fake(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    check_residual("fused_add_rms_norm", x, x_residual)
    check_weight("fused_add_rms_norm", x, weight)
    return kernels.new_like(x), kernels.new_like(x)


def _writable(x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float) -> bool:
    # Contiguous, for what is written into x is what the op returns, and its outputs are contiguous.
    return x.is_contiguous() and x_residual.is_contiguous() and kernels.takes(x, x_residual, weight)


@fused_add_rms_norm.register_impl(
    "cpp", supported=kernels.available(), supports_args=_writable, inplace=True, sources=kernels.SOURCES
)
def fused_add_rms_norm_cpp(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor]:
    """One pass over x and x_residual, into both."""
    check_residual("fused_add_rms_norm", x, x_residual)
    check_weight("fused_add_rms_norm", x, weight)
    kernels.ops.fused_add_rms_norm.default(x, x_residual, weight, epsilon)
    return x, x_residual


@rms_norm.register_input_generator(hidden=(96, 101), weight=("own", "none", "float32"), layout=LAYOUTS)
def rms_norm_inputs(dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, layout: str) -> tuple[Any, ...]:
    return make_rows(layout, num_tokens, hidden, dtype), make_weight(weight, hidden, dtype), 1e-6


@fused_add_rms_norm.register_input_generator(hidden=(96, 101), weight=("own", "none", "float32"), layout=LAYOUTS)
def fused_add_rms_norm_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, weight: str, layout: str
) -> tuple[Any, ...]:
    x, residual = (make_rows(layout, num_tokens, hidden, dtype) for _ in range(2))
    return x, residual, make_weight(weight, hidden, dtype), 1e-6


def check_weight(op: str, x: Tensor, weight: Tensor | None) -> None:
    """Refuse a weight that torch would broadcast, or that a kernel would read beyond its end."""
    if weight is not None and (weight.dim() != 1 or weight.shape[0] != x.shape[-1]):
        raise OpError(
            f"op '{op}' cannot use a weight of shape {list(weight.shape)}",
            f"x has the shape {list(x.shape)}",
            f"give one of shape [{x.shape[-1]}], or None",
        )


def check_residual(op: str, x: Tensor, x_residual: Tensor) -> None:
    """Refuse a residual that torch would broadcast or promote."""
    if x.shape != x_residual.shape or x.dtype != x_residual.dtype:
        raise OpError(
            f"op '{op}' cannot add a residual of {x_residual.dtype}{list(x_residual.shape)}",
            f"x is {x.dtype}{list(x.shape)}",
            "give both the same shape and dtype",
        )
