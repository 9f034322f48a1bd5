"""A model through plain ``torch.compile``, with a pass of the user's that is wrong in its second layer.

    python plain.py [right]

Exits 1 when the compiled model is not the model.
"""

from __future__ import annotations

import sys

import torch
from torch import fx, nn


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.tanh(self.up(x)))


def wrong(graph: fx.Graph) -> None:
    """Inductor's custom pass: the second ``tanh`` becomes a ``sigmoid``."""
    tanh = graph.find_nodes(op="call_function", target=torch.ops.aten.tanh.default)
    if len(tanh) == 2:
        tanh[1].target = torch.ops.aten.sigmoid.default


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Layer(), Layer()).eval()
    options = {} if "right" in sys.argv else {"post_grad_custom_post_pass": wrong}
    compiled = torch.compile(model, options=options)
    x = torch.randn(4, 16)
    with torch.no_grad():
        same = torch.allclose(compiled(x), model(x), rtol=1e-3, atol=1e-3)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
