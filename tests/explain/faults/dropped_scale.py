"""Planted by nobody: Inductor's addmm pattern (torch 2.13) drops the `alpha` of an addition. Plain torch.compile."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(32, 32, bias=False), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.add(x, self.one(x), alpha=2)
        return torch.tanh(self.other(y)).square()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = torch.compile(Scaled().eval())
    with torch.no_grad():
        print(f"sum: {model(torch.randn(16, 32)).sum().item():.6f}")
