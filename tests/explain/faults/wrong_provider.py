"""An implementation of an operator that is wrong for more than eight rows; both compile ranges are called."""

from __future__ import annotations

import torch
from _decoder import Decoder, decoder, show
from halved import halved
from torch import nn


class Halved(nn.Module):
    """The decoder, and the operator behind it."""

    def __init__(self, inner: Decoder) -> None:
        super().__init__()
        self.decoder = inner

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return halved(self.decoder(ids))


if __name__ == "__main__":
    config = {"ir_priority": {"halved": ("blocked", "native")}, "compile_ranges": ((1, 8), (9, 16))}
    show(Halved(decoder()).eval(), config, sizes=(4, 12))
