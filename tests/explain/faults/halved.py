"""An operator with an implementation that is wrong for more than eight rows."""

from __future__ import annotations

import torch

from cutaway.ops import register_op


@register_op
def halved(x: torch.Tensor) -> torch.Tensor:
    """Half of it."""
    return x * 0.5


@halved.register_impl("blocked", supported=True)
def _blocked(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 + x * 0.25 * (x.shape[0] // 9)  # right up to eight rows
