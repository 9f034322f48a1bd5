"""An op with a wrong implementation, in a module of its own: another process can import what registers it."""

from __future__ import annotations

import torch

from cutaway.ops import register_op


@register_op
def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    """An op with several implementations: ``x * factor``."""
    return x * factor


@scaled.register_impl("quick", supported=True)
def _quick(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor + x * 0.5 * (x.shape[0] // 25)  # wrong from 25 rows on
