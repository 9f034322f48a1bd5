"""A custom operator returns other strides than its fake implementation announces. Plain torch.compile."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.library.custom_op("gallery::every_second", mutates_args=())
def every_second(x: Tensor) -> Tensor:
    return x[::2].t().contiguous().t()


@every_second.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[0] // 2, x.shape[1])


class Halving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        y = every_second(torch.relu(self.one(x)))
        return self.other((y * 2).exp().clamp(max=3)).tanh()


if __name__ == "__main__":
    torch.manual_seed(0)
    model = torch.compile(Halving().eval())
    with torch.no_grad():
        print(f"sum: {model(torch.randn(16, 32)).sum().item():.6f}")
