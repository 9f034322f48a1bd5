"""Models that `isolate` tries in fresh processes, and the faults in them."""

from __future__ import annotations

import torch
from torch import fx, nn


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.up(x))
        return self.down(hidden) + x


class Broken(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 2:
            raise ValueError("too many rows")
        return super().forward(x)


class Poisoned(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x) - 1e4).log()


class Unsteady(Small):
    """Subtracts what is nearly the same: eager is off by more than another order of sums."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = self.up(x).exp().sum(-1, keepdim=True) * 1e4
        return (large + super().forward(x)) - large


def relu_to_abs(graph: fx.Graph) -> None:
    """A pass with a wrong rewrite."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target is torch.ops.aten.relu.default:
            node.target = torch.ops.aten.abs.default


def compiled_with_a_fault_now_and_then(model: nn.Module) -> object:
    """A way to compile that is wrong at every third call, where compiling is on at all."""
    calls = [0]

    def call(x: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        found = model(x)
        return found + 1 if calls[0] % 3 == 0 else found

    return call
