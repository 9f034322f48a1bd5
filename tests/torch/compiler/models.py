"""Models to compile: small decoders with attention as a custom op, dense and mixture-of-experts; ways to compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SPLITTING = ("toy::attention",)


@torch.library.custom_op("toy::attention", mutates_args=("out",))
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, heads: int) -> None:
    """Causal attention over all tokens, into ``out``. All are ``[tokens, hidden]``."""
    parts = [part.view(len(part), heads, -1).transpose(0, 1) for part in (q, k, v)]
    mixed = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
    out.copy_(mixed.transpose(0, 1).reshape(out.shape))


@attention.register_fake
def _(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, heads: int) -> None:
    return None


@dataclass
class Sizes:
    """What a decoder is made of."""

    layers: int = 4
    hidden: int = 64
    heads: int = 4
    vocabulary: int = 128
    experts: int = 0
    chosen: int = 2


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.hidden, 3 * sizes.hidden, bias=False)
        self.o = nn.Linear(sizes.hidden, sizes.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out = torch.empty_like(q)
        torch.ops.toy.attention(q, k, v, out, self.heads)
        return self.o(out)


class MLP(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.up = nn.Linear(sizes.hidden, 4 * sizes.hidden, bias=False)
        self.down = nn.Linear(2 * sizes.hidden, sizes.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class Experts(nn.Module):
    """Every expert runs on every token, weighted by its share: no shape depends on data."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.chosen = sizes.chosen
        self.router = nn.Linear(sizes.hidden, sizes.experts, bias=False)
        self.up = nn.Parameter(torch.randn(sizes.experts, sizes.hidden, 2 * sizes.hidden) * 0.1)
        self.down = nn.Parameter(torch.randn(sizes.experts, 2 * sizes.hidden, sizes.hidden) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores, chosen = self.router(x).softmax(-1).topk(self.chosen, dim=-1)
        share = torch.zeros(x.shape[0], self.up.shape[0], dtype=x.dtype, device=x.device).scatter(1, chosen, scores)
        hidden = nn.functional.silu(torch.einsum("th,ehf->tef", x, self.up))
        return torch.einsum("tef,efh,te->th", hidden, self.down, share)


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(sizes.hidden)
        self.attention = Attention(sizes)
        self.norm_2 = RMSNorm(sizes.hidden)
        self.mlp = Experts(sizes) if sizes.experts else MLP(sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Decoder(nn.Module):
    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.embed = nn.Embedding(sizes.vocabulary, sizes.hidden)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.hidden)
        self.head = nn.Linear(sizes.hidden, sizes.vocabulary, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def tokens(number: int, vocabulary: int = 128) -> torch.Tensor:
    """Random token ids, ``int64[number]``."""
    return torch.randint(0, vocabulary, (number,))


def decoder(**sizes: int) -> Decoder:
    """A decoder with random weights, the same for the same seed."""
    torch.manual_seed(0)
    return Decoder(Sizes(**sizes)).eval()


#: How far two orders of summation may be apart: relative and absolute.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2}


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Assert that two results are equal within their dtype's tolerance."""
    tolerance = TOLERANCE[wanted.dtype]
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def same(model: Callable[..., torch.Tensor], compiled: Callable[..., torch.Tensor], number: int) -> None:
    """Assert that a compiled model gives what the model gives."""
    ids = tokens(number)
    with torch.no_grad():
        close(compiled(ids), model(ids))


class Block(nn.Module):
    """Eight features through a linear layer, then through a function: the least model, for what models do wrong."""

    def __init__(self, then: Callable[..., Any] = torch.relu) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.then = then

    def forward(self, x: torch.Tensor) -> Any:
        return self.then(self.linear(x))


def rows(number: int) -> torch.Tensor:
    """Input of a :class:`Block`, ``float32[number, 8]``."""
    return torch.randn(number, 8)
