"""A decoder made of the library's operators, with quantised weights if wanted, and the same in plain torch."""

from __future__ import annotations

import torch
from compiler.models import Sizes  # the attention operator comes with it
from torch import Tensor, nn

import cutaway.ops.library as ops

EPSILON = 1e-6
CONTEXT = 256


class Norm(nn.Module):
    """Root-mean-square normalisation; plain: written out."""

    def __init__(self, size: int, plain: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        if not self.plain:
            return ops.rms_norm(x, self.weight, EPSILON)
        normed = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + EPSILON)
        return normed.to(x.dtype) * self.weight


class QuantisedLinear(nn.Module):
    """Eight-bit inputs, one scale a token; the product is computed in float32."""

    def __init__(self, inputs: int, outputs: int, plain: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        if self.plain:
            scales = (x.abs().amax(-1, keepdim=True).float() / 127).clamp(min=1e-10 / 127)
            quantised = (x.float() * scales.reciprocal()).round().clamp(-128, 127)
        else:
            quantised, scales = ops.dynamic_per_token_quant(x, torch.int8)
        return ((quantised.float() * scales) @ self.weight.float().t()).to(x.dtype)


class Block(nn.Module):
    """A layer: attention and gated MLP, each behind a normalisation of the residual stream."""

    def __init__(self, sizes: Sizes, plain: bool, quantised: bool) -> None:
        super().__init__()
        self.sizes, self.plain = sizes, plain
        hidden = sizes.hidden
        self.norm_1, self.norm_2 = Norm(hidden, plain), Norm(hidden, plain)
        self.qkv = QuantisedLinear(hidden, 3 * hidden, plain) if quantised else nn.Linear(hidden, 3 * hidden)
        self.o = nn.Linear(hidden, hidden)
        self.up = QuantisedLinear(hidden, 4 * hidden, plain) if quantised else nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(2 * hidden, hidden)

    def forward(self, x: Tensor, positions: Tensor, angles: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        q, k = self.rotated(positions, q, k, angles)
        out = torch.empty_like(v)
        torch.ops.toy.attention(q, k, v, out, self.sizes.heads)
        x = x + self.o(out)
        up = self.up(self.norm_2(x))
        if self.plain:
            gate, up = up.chunk(2, dim=-1)
            return x + self.down(nn.functional.silu(gate) * up)
        return x + self.down(ops.silu_and_mul(up))

    def rotated(self, positions: Tensor, q: Tensor, k: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        size = self.sizes.hidden // self.sizes.heads
        if not self.plain:
            return ops.rotary_embedding(positions, q, k, angles, size)
        cos, sin = angles[positions].unsqueeze(1).float().chunk(2, dim=-1)

        def turn(x: Tensor) -> Tensor:
            a, b = x.unflatten(-1, (-1, size)).float().chunk(2, dim=-1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2).to(x.dtype)

        return turn(q), turn(k)


class IrDecoder(nn.Module):
    """Random weights, the same for the same seed whether plain or not.

    Args:
        sizes: what it is made of.
        plain: the same in torch's own operators.
        quantised: the projections behind the normalisations take eight-bit inputs.
    """

    def __init__(self, sizes: Sizes | None = None, plain: bool = False, quantised: bool = False) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        torch.manual_seed(0)
        self.embed = nn.Embedding(sizes.vocabulary, sizes.hidden)
        self.layers = nn.ModuleList(Block(sizes, plain, quantised) for _ in range(sizes.layers))
        self.norm = Norm(sizes.hidden, plain)
        angles = torch.outer(torch.arange(CONTEXT), 1e4 ** -torch.linspace(0, 1, sizes.hidden // sizes.heads // 2))
        self.register_buffer("angles", torch.cat([angles.cos(), angles.sin()], dim=-1))

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, positions, self.angles)
        return self.norm(x)
