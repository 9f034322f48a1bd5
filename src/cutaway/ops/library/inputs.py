"""What the input generators of this library share: tensors of every layout that the ops take."""

from __future__ import annotations

import torch
from torch import Tensor

LAYOUTS = ("rows", "sliced", "heads", "transposed", "spread")
"""How rows lie: one after the other; within wider rows; three-dimensional; that transposed; with gaps in each row."""


def make_rows(layout: str, num_tokens: int, hidden: int, dtype: torch.dtype) -> Tensor:
    """Normally distributed rows; the first is 0, the second large, where there are so many."""
    x = _laid_out(layout, num_tokens, hidden, dtype)
    if num_tokens > 2:
        x[0] = 0
        x[1] *= 30
    return x


def _laid_out(layout: str, num_tokens: int, hidden: int, dtype: torch.dtype) -> Tensor:
    if layout == "sliced":
        return torch.randn(num_tokens, hidden + 24, dtype=dtype)[:, 8 : hidden + 8]
    if layout == "heads":
        return torch.randn(num_tokens, 3, hidden, dtype=dtype)
    if layout == "transposed":
        return torch.randn(3, num_tokens, hidden, dtype=dtype).transpose(0, 1)
    if layout == "spread":
        return torch.randn(num_tokens, 2 * hidden, dtype=dtype)[:, ::2]
    return torch.randn(num_tokens, hidden, dtype=dtype)


def make_weight(kind: str, hidden: int, dtype: torch.dtype) -> Tensor | None:
    """A weight about 1 of x's dtype ("own") or of float32, or none."""
    if kind == "none":
        return None
    return 1 + 0.2 * torch.randn(hidden, dtype=torch.float32 if kind == "float32" else dtype)
