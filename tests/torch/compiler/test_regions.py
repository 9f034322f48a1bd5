"""Bodies that are stamped out: what shares memory in the first layer does so in every layer."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from cutaway import torch_internals
from cutaway.compiler.capture.regions import inline_regions, repeated_layers_once


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        halves = x.view(-1, 2, 4)
        flat = self.linear.weight.view(-1)
        return self.linear(x) + halves[:, 1].sum() + flat.sum()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_views_of_what_a_layer_is_given_lie_in_its_memory() -> None:
    found: list[fx.GraphModule] = []

    def backend(gm: fx.GraphModule, inputs: Any) -> Any:
        assert inline_regions(gm) > 0
        found.append(gm)
        return gm.forward

    model = Model()
    with torch_internals.compile_lock(), repeated_layers_once(model), torch.no_grad():
        torch.compile(model, backend=backend, fullgraph=True)(torch.ones(3, 8))
    (gm,) = found
    views = gm.graph.find_nodes(op="call_method", target="view")
    assert len(views) == 8
    for view in views:
        given: Any = view.args[0]
        value, whole = view.meta["example_value"], given.meta["example_value"]
        assert torch_internals.storage_of(value) == torch_internals.storage_of(whole)
        assert value.shape != whole.shape
    for taken in gm.graph.find_nodes(op="call_function", target=operator.getitem):
        value = taken.meta["example_value"]
        assert value.storage_offset() == 4
