"""Small things to compile."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.nn.functional.silu(self.up(x)))


class Net(nn.Module):
    """Two layers and a norm; every weight from a fixed seed."""

    def __init__(self, width: int = 8, depth: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.ModuleList(Mlp(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return self.norm(x)


def with_break(x: torch.Tensor) -> torch.Tensor:
    y = x.sin()
    torch._dynamo.graph_break()
    return y.cos() + 1


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1


def squared(x: torch.Tensor) -> torch.Tensor:
    return x * x - 3


def shifted(x: torch.Tensor) -> torch.Tensor:
    return x.roll(1) + 5


def branching(x: torch.Tensor) -> torch.Tensor:
    return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))


def line_of(function: Callable[..., object], text: str) -> int:
    """The number of the line in a function's source that holds a text."""
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
