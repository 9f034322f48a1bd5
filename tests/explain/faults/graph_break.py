"""A line that Dynamo does not trace, in one layer: the graph breaks there."""

from __future__ import annotations

import torch
from _decoder import Decoder, Mlp, tokens


class Logging(Mlp):
    """An MLP that looks at a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.abs().max().item() > 1e4:
            return x
        return super().forward(x)


if __name__ == "__main__":
    model = Decoder().eval()
    model.layers[1].mlp = Logging()
    with torch.no_grad():
        torch.compile(model, backend="eager", dynamic=True)(tokens(24))
