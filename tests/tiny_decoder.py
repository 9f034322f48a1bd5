"""A decoder whose every line is known to the tests, and the patterns that a pass fuses in it.

It lies outside of the folder `torch`: files below a folder of that name count as torch's own.
"""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 32


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance = x.pow(2).mean(-1, keepdim=True)
        scaled = x * torch.rsqrt(variance + 1e-06)
        return scaled * self.weight


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.randn(width, 3 * width) / width)
        self.q_norm = Norm(width)
        self.out = nn.Parameter(torch.randn(width, width) / width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = x @ self.qkv
        q, k, v = mixed.chunk(3, -1)
        q = self.q_norm(q)
        scores = q @ k.t()
        weights = scores.softmax(-1)
        values = weights @ v
        return values @ self.out


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.randn(width, 4 * width) / width)
        self.mid_norm = Norm(2 * width)
        self.down = nn.Parameter(torch.randn(2 * width, width) / width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = x @ self.gate_up
        gate, up = both.chunk(2, -1)
        hidden = gate * torch.sigmoid(gate) * up
        hidden = self.mid_norm(hidden)
        return hidden @ self.down


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_norm, self.post_norm = Norm(width), Norm(width)
        self.attn, self.mlp = Attention(width), Mlp(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.input_norm(x))
        return x + self.mlp(self.post_norm(x))


class Decoder(nn.Module):
    """Two layers and a norm; every weight from a fixed seed."""

    def __init__(self, layers: int = 2, width: int = WIDTH) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
            self.norm = Norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


@torch.library.custom_op("tiny_decoder::norm", mutates_args=())
def fused_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What the pattern of `Norm` becomes."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-06) * weight


@fused_norm.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("tiny_decoder::gated", mutates_args=())
def fused_gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """What the pattern of the gate becomes."""
    return gate * torch.sigmoid(gate) * up


@fused_gate.register_fake
def _(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(up, memory_format=torch.contiguous_format)


LINES: dict[str, str] = {
    "pow": "variance = x.pow(2).mean(-1, keepdim=True)",
    "scale": "scaled = x * torch.rsqrt(variance + 1e-06)",
    "weight": "return scaled * self.weight",
    "qkv": "mixed = x @ self.qkv",
    "parts": "q, k, v = mixed.chunk(3, -1)",
    "scores": "scores = q @ k.t()",
    "softmax": "weights = scores.softmax(-1)",
    "values": "values = weights @ v",
    "out": "return values @ self.out",
    "gate_up": "both = x @ self.gate_up",
    "halves": "gate, up = both.chunk(2, -1)",
    "gated": "hidden = gate * torch.sigmoid(gate) * up",
    "down": "return hidden @ self.down",
    "first sum": "x = x + self.attn(self.input_norm(x))",
    "second sum": "return x + self.mlp(self.post_norm(x))",
}
"""The lines of the model, by a short name."""
