"""Ops that find their layer's state by the layer's name, as an engine's do; also run in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch._inductor.standalone_compile import AOTCompiledArtifact

from cutaway.compiler.split.lift import LayerName

FACTORS = {"layers.0.mlp": 2.0, "layers.1.mlp": 3.0, "layers.2.mlp": 5.0}
WIDTHS: dict[str, int] = {}  # what the fake implementation of `wide` makes of a name, if anything


@torch.library.custom_op("by_name::experts", mutates_args=())
def experts(x: torch.Tensor, w: torch.Tensor, layer_name: str) -> torch.Tensor:
    return (x @ w) * FACTORS[layer_name]


@experts.register_fake
def _(x: torch.Tensor, w: torch.Tensor, layer_name: str) -> torch.Tensor:
    assert layer_name in FACTORS  # the fake implementation is told the name as well
    return x.new_empty(x.shape[0], w.shape[1])


@torch.library.custom_op("by_name::store", mutates_args=("cache",))
def store(x: torch.Tensor, cache: torch.Tensor, layer_name: str, style: str = "a, b") -> None:
    cache.add_(x.sum() * FACTORS[layer_name] * len(style))


@store.register_fake
def _(x: torch.Tensor, cache: torch.Tensor, layer_name: str, style: str = "a, b") -> None:
    return None


@torch.library.custom_op("by_name::wide", mutates_args=())
def wide(x: torch.Tensor, layer_name: str) -> torch.Tensor:
    return x.new_ones(x.shape[0], WIDTHS[layer_name])


@wide.register_fake
def _(x: torch.Tensor, layer_name: str) -> torch.Tensor:
    return x.new_empty(x.shape[0], WIDTHS[layer_name])


@torch.library.custom_op("by_name::native", mutates_args=())
def native(x: torch.Tensor, layer_name: LayerName) -> torch.Tensor:
    return x * FACTORS[layer_name.value]


@native.register_fake
def _(x: torch.Tensor, layer_name: LayerName) -> torch.Tensor:
    return torch.empty_like(x)


if __name__ == "__main__":  # load an artifact and print what it makes of two layers
    artifact = AOTCompiledArtifact.deserialize(Path(sys.argv[1]).read_bytes())
    x, w, cache = torch.ones(3, 4), torch.eye(4), torch.zeros(1)
    for name in ("layers.0.mlp", "layers.1.mlp"):
        print(float(artifact(3, x, w, cache, LayerName(name))[0][0, 0]), float(cache))
