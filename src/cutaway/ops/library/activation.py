"""Gated activations: one half of the last dimension, activated, times the other."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (everybody's name for it)
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops import kernels, register_op
from cutaway.ops.library.inputs import LAYOUTS, make_rows

_GELU = ("none", "tanh")


@register_op
def silu_and_mul(x: Tensor) -> Tensor:
    """``silu(x[..., :d]) * x[..., d:]`` with ``silu(z) = z / (1 + exp(-z))``; d is half of the last dimension.

    The activation is computed in float32 and rounded to x's dtype before it is multiplied.

    Args:
        x: ``[..., 2 d]``, floating point: gate, then up.

    Returns:
        ``[..., d]``, x's dtype, contiguous.

    Raises:
        OpError: the last dimension is odd.

    Source: Shazeer, GLU Variants Improve Transformer (2020), SwiGLU; vLLM's ``SiluAndMul``.
    """
    gate, up = halves("silu_and_mul", x)
    return (F.silu(gate) * up).contiguous()


@silu_and_mul.register_fake
def silu_and_mul_fake(x: Tensor) -> Tensor:
    check_halves("silu_and_mul", x)
    return kernels.new_like(x, x.shape[-1] // 2)


def _silu_readable(x: Tensor) -> bool:
    return kernels.takes(x)


@silu_and_mul.register_impl("cpp", supported=kernels.available(), supports_args=_silu_readable, sources=kernels.SOURCES)
def silu_and_mul_cpp(x: Tensor) -> Tensor:
    """One pass over x."""
    check_halves("silu_and_mul", x)
    return kernels.ops.silu_and_mul.default(x)


@register_op
def gelu_and_mul(x: Tensor, approximate: str = "none") -> Tensor:
    """``gelu(x[..., :d]) * x[..., d:]`` with ``gelu(z) = z Φ(z)``; d is half of the last dimension.

    The activation is computed in float32 and rounded to x's dtype before it is multiplied.

    Args:
        x: ``[..., 2 d]``, floating point: gate, then up.
        approximate: "none" for Φ by the error function, "tanh" for ``(1 + tanh(√(2/π) (z + 0.044715 z³))) / 2``.

    Returns:
        ``[..., d]``, x's dtype, contiguous.

    Raises:
        OpError: the last dimension is odd, or there is no such approximation.

    Source: Shazeer, GLU Variants Improve Transformer (2020), GEGLU; Hendrycks and Gimpel, GELU (2016); vLLM's
    ``GeluAndMul``.
    """
    check_gelu(approximate)
    gate, up = halves("gelu_and_mul", x)
    return (F.gelu(gate, approximate=approximate) * up).contiguous()


@gelu_and_mul.register_fake
def gelu_and_mul_fake(x: Tensor, approximate: str = "none") -> Tensor:
    check_gelu(approximate)
    check_halves("gelu_and_mul", x)
    return kernels.new_like(x, x.shape[-1] // 2)


def _gelu_readable(x: Tensor, approximate: str = "none") -> bool:
    return kernels.takes(x)


@gelu_and_mul.register_impl("cpp", supported=kernels.available(), supports_args=_gelu_readable, sources=kernels.SOURCES)
def gelu_and_mul_cpp(x: Tensor, approximate: str = "none") -> Tensor:
    """One pass over x."""
    check_gelu(approximate)
    check_halves("gelu_and_mul", x)
    return kernels.ops.gelu_and_mul.default(x, approximate == "tanh")


@silu_and_mul.register_input_generator(hidden=(96, 101), layout=LAYOUTS)
def silu_and_mul_inputs(dtype: torch.dtype, num_tokens: int, hidden: int, layout: str) -> tuple[Any, ...]:
    return (make_rows(layout, num_tokens, 2 * hidden, dtype),)


@gelu_and_mul.register_input_generator(hidden=(96, 101), approximate=_GELU, layout=LAYOUTS)
def gelu_and_mul_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, approximate: str, layout: str
) -> tuple[Any, ...]:
    return make_rows(layout, num_tokens, 2 * hidden, dtype), approximate


# Where the error function is near -1, torch's 1 + erf has an error of some 1e-7, times gate and up.
gelu_and_mul.override_tolerance(torch.float32, atol=1e-4, rtol=1e-5)


def halves(op: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gate and up, views of x."""
    check_halves(op, x)
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def check_halves(op: str, x: Tensor) -> None:
    """Refuse an odd size: torch would broadcast a half of one entry."""
    if x.shape[-1] % 2:
        raise OpError(
            f"op '{op}' cannot halve the last dimension of {list(x.shape)}", cure="give gate and up of equal size"
        )


def check_gelu(approximate: str) -> None:
    """Refuse an approximation that there is not."""
    if approximate not in _GELU:
        raise OpError(
            f"op 'gelu_and_mul' has no approximation {approximate!r}", cure=f"choose of {', '.join(map(repr, _GELU))}"
        )
