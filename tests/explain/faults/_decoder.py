"""The model that the faults are planted in, and how a program shows what it computes.

Two layers, attention as a splitting op, a value that all layers read (`skip`), so that there is something to overwrite.
It lies outside of a folder `torch`: files below a folder of that name count as torch's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

import cutaway

WIDTH, LAYERS, VOCABULARY = 16, 2, 32


@torch.library.custom_op("gallery::attention", mutates_args=("out",))
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    """Causal attention with one head over all tokens, into ``out``. All are ``[tokens, width]``."""
    out.copy_(nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0])


@attention.register_fake
def _(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    return None


class Norm(nn.Module):
    def __init__(self, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(WIDTH)), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        mixed = torch.empty_like(q)
        torch.ops.gallery.attention(q, k, v, mixed)
        return self.out(mixed)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.down = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.attention = Norm(), Attention()
        self.norm_2, self.mlp = Norm(), Mlp()

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x))
        x = x + 0.1 * skip
        return x + self.mlp(self.norm_2(x))


class Decoder(nn.Module):
    """Its logits are capped by ``tanh``, as some models cap theirs: there is one ``tanh`` in it, in the last piece."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = Norm()
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        skip = self.embed(ids)
        x = skip
        for layer in self.layers:
            x = layer(x, skip)
        return 2.0 * torch.tanh(self.head(self.norm(x)))


def decoder() -> Decoder:
    """With random weights, the same each time."""
    torch.manual_seed(0)
    return Decoder().eval()


def tokens(number: int) -> torch.Tensor:
    """Token ids, the first of them padding (0)."""
    return torch.arange(number) * 7 % VOCABULARY


def show(
    model: nn.Module, config: Mapping[str, Any] | None = None, sizes: Sequence[int] = (4,), most: int = 16
) -> None:
    """Compile the model with `cutaway.compile`, call it with some batch sizes and print a line for each."""
    torch.set_num_threads(1)
    given = {"splitting_ops": ("gallery::attention",), "max_batch": most, "progress": False, **(config or {})}
    compiled = cutaway.compile(model, given)
    with torch.no_grad():
        for size in sizes:
            found = compiled(tokens(size)).double()
            weights = torch.linspace(1, 2, found.numel(), dtype=torch.float64).reshape(found.shape)
            print(f"{size} tokens, sum: {(found * weights).sum().item():.6f}", flush=True)
