"""The model of startup.py and ops_start.py: a decoder whose attention is an operator that fills an output."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import cutaway.ops.library as ops

SPLITTING = "cutaway_bench::attention"
HIDDEN, HEADS, VOCABULARY = 256, 4, 1024


def define_attention(name_type: type | None = None) -> None:
    """Define the operator: causal attention over all tokens into ``out``; all tensors are ``[tokens, hidden]``.

    Args:
        name_type: what the operator is told its layer's name with, after the tensors; None: it is not told.
    """

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
        q, k, v = (part.view(len(part), HEADS, -1).transpose(0, 1) for part in (q, k, v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        out.copy_(mixed.transpose(0, 1).reshape(out.shape))

    def named_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor, layer: Any) -> None:
        attention(q, k, v, out)

    if name_type is not None:
        named_attention.__annotations__ = attention.__annotations__ | {"layer": name_type}
    function = attention if name_type is None else named_attention
    made = torch.library.custom_op(SPLITTING, function, mutates_args=("out",))
    made.register_fake(lambda *args: None)


class RMSNorm(nn.Module):
    def __init__(self, ir: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))
        self.ir = ir

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.ir:
            return ops.rms_norm(x, self.weight, 1e-6)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Attention(nn.Module):
    def __init__(self, name: str, name_type: type | None) -> None:
        super().__init__()
        self.name = name
        self.name_type = name_type
        self.qkv = nn.Linear(HIDDEN, 3 * HIDDEN, bias=False)
        self.o = nn.Linear(HIDDEN, HIDDEN, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        out = torch.empty_like(q)
        if self.name_type is None:
            torch.ops.cutaway_bench.attention(q, k, v, out)
        else:
            torch.ops.cutaway_bench.attention(q, k, v, out, self.name_type(self.name))
        return self.o(out)


class MLP(nn.Module):
    def __init__(self, ir: bool) -> None:
        super().__init__()
        self.ir = ir
        self.up = nn.Linear(HIDDEN, 4 * HIDDEN, bias=False)
        self.down = nn.Linear(2 * HIDDEN, HIDDEN, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.ir:
            return self.down(ops.silu_and_mul(self.up(x)))
        gate, up = self.up(x).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, name: str, name_type: type | None, ir: bool) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(ir)
        self.attention = Attention(f"{name}.attention", name_type)
        self.norm_2 = RMSNorm(ir)
        self.mlp = MLP(ir)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Decoder(nn.Module):
    """Random weights, the same for the same seed.

    Args:
        layers: how many.
        name_type: as for `define_attention`; made anew of the layer's name at every call, as in an engine.
        ir: normalisation and activation are operators of ``cutaway.ops.library``, not torch's.
    """

    def __init__(self, layers: int, name_type: type | None = None, ir: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = nn.ModuleList(Layer(f"layers.{number}", name_type, ir) for number in range(layers))
        self.norm = RMSNorm(ir)
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))
