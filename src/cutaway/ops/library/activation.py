"""Gated activations: one half of the last dimension, activated, times the other."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  (everybody's name for it)
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops import register_op

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
    if approximate not in _GELU:
        raise OpError(
            f"op 'gelu_and_mul' has no approximation {approximate!r}", cure=f"choose of {', '.join(map(repr, _GELU))}"
        )
    gate, up = halves("gelu_and_mul", x)
    return (F.gelu(gate, approximate=approximate) * up).contiguous()


def halves(op: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gate and up, views of x."""
    size = x.shape[-1]
    if size % 2:
        raise OpError(
            f"op '{op}' cannot halve the last dimension of {list(x.shape)}", cure="give gate and up of equal size"
        )
    return x[..., : size // 2], x[..., size // 2 :]
