"""An operator with a race: one call in three is wrong."""

from __future__ import annotations

import random

import torch


@torch.library.custom_op("gallery::racing_tanh", mutates_args=())
def racing_tanh(x: torch.Tensor) -> torch.Tensor:
    """``tanh``, unless two threads meet."""
    found = torch.tanh(x)
    return found * 1.5 if random.SystemRandom().random() < 1 / 3 else found


@racing_tanh.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)
