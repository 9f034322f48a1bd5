"""A fault that is the model's own: a weight of one layer is infinite, and so is eager's result."""

from __future__ import annotations

import torch
from _decoder import decoder, show

if __name__ == "__main__":
    model = decoder()
    with torch.no_grad():
        model.layers[1].norm_2.weight.fill_(float("inf"))  # type: ignore[operator, union-attr]
    show(model)
