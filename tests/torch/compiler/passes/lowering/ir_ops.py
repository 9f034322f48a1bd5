"""Ops for the tests of lowering: what implementations are made of, one kind in each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from cutaway.ops import register_op


@register_op
def lowering_norm(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None) -> Tensor:
    """Pointwise ops, a reduction, and a view when a size is given."""
    wide = x.to(torch.float32)
    part = wide if size is None else wide[..., :size]
    wide = wide * torch.rsqrt(part.pow(2).mean(dim=-1, keepdim=True) + epsilon)
    if weight is not None:
        wide = wide.to(weight.dtype) * weight
    return wide.to(x.dtype)


@register_op
def lowering_gated(x: Tensor, scale: float = 1.0, negated: bool = False) -> Tensor:
    """Views of the argument, which share its memory."""
    half = x.shape[-1] // 2
    gate, up = x[..., :half], x[..., half:]
    return gate.sigmoid() * (-up if negated else up) * scale


@register_op
def lowering_joined(xs: list[Tensor], dim: int) -> Tensor:
    """A list of tensors."""
    return torch.cat(xs, dim)


@register_op
def lowering_some(x: Tensor, others: list[Tensor | None], scales: list[float]) -> Tensor:
    """A list with gaps, a list of numbers."""
    for other, scale in zip(others, scales, strict=True):
        if other is not None:
            x = x + other * scale
    return x * 2


@register_op
def lowering_two(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two results, which have a node in common; nothing but the object tells whether the arguments are one."""
    both = x * 2 if x is y else x + y
    return both.relu(), both.t() if both.dim() == 2 else both.contiguous() * 1


@register_op
def lowering_given_back(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Three tensors, each in memory of its own: that is what an op's schema promises."""
    return x.clone(), x[:1].clone(), x + 1


@lowering_given_back.register_impl("careless")
def given_back(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The argument itself, a view of it, and a new tensor."""
    return x, x[:1], x + 1


@register_op
def lowering_shaped(x: Tensor, size: int) -> Tensor:
    """Sizes as values: of the argument, and one that is given."""
    rows = x.shape[0]
    return x.reshape(rows, -1).sum(-1) * rows + torch.full((1,), 2.0, dtype=x.dtype) * size


@register_op
def lowering_cast(x: Tensor, dtype: torch.dtype, mode: str = "up") -> Tensor:
    """Constants that are no numbers."""
    return (x.ceil() if mode == "up" else x.floor()).to(dtype)


@register_op
def lowering_made(x: Tensor, device: torch.device) -> Tensor:
    """A tensor that is made, in torch's default dtype."""
    return x * torch.ones(x.shape[-1:], device=device)


@custom_op("lowering_tests::halve_", mutates_args=("x",))
def halve_(x: Tensor) -> None:
    x.div_(2)


@register_op(allow_inplace=True)
def lowering_halved(x: Tensor, x_other: Tensor, number: float) -> tuple[Tensor, Tensor]:
    """An op whose activations may be written to."""
    return x / 2, x_other * number


@lowering_halved.register_impl("inplace", inplace=True)
def halved_inplace(x: Tensor, x_other: Tensor, number: float) -> tuple[Tensor, Tensor]:
    halve_(x)
    return x, x_other.mul_(number)


@register_op
def lowering_nested(x: Tensor, weight: Tensor) -> Tensor:
    """An implementation that calls other ops."""
    return lowering_gated(lowering_norm(x, weight, 1e-5), 2.0)


@register_op
def lowering_large(x: Tensor) -> Tensor:
    """A provider that is for large batches alone, and one that asks on the way."""
    return x + 1


@lowering_large.register_impl("large", supports_args=lambda x: x.shape[0] > 16)
def large(x: Tensor) -> Tensor:
    return x + 2


@lowering_large.register_impl("careless")
def careless(x: Tensor) -> Tensor:
    return x + 3 if x.shape[0] > 16 else x + 4


@register_op
def lowering_constant(x: Tensor) -> Tensor:
    """A tensor that comes from nowhere."""
    return x * torch.tensor([1.0, 2.0])


@register_op
def lowering_branching(x: Tensor) -> Tensor:
    """A nested graph for each branch."""
    return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))


@register_op
def lowering_nonzero(x: Tensor) -> Tensor:
    """As many rows as there are values other than zero."""
    return x.nonzero()
