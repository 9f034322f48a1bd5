"""A branch on the number of tokens, which one graph for all of them cannot take."""

from __future__ import annotations

import torch
from _decoder import Decoder, tokens


class Branching(Decoder):
    """A decoder with a quicker way for some batches."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits = super().forward(ids)
        if ids.shape[0] % 8 == 0:
            return logits * 2
        return logits


if __name__ == "__main__":
    with torch.no_grad():
        torch.compile(Branching().eval(), backend="eager", dynamic=True)(tokens(24))
