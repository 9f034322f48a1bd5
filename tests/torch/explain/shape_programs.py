"""Programs that demand something of a size, break, or are compiled again."""

from __future__ import annotations

import torch
from torch import Tensor


def branches(x: Tensor) -> Tensor:
    if x.shape[0] % 8 == 0:
        return x * 2
    return x + 1


def bounded(x: Tensor) -> Tensor:
    torch._check(x.shape[0] <= 64)
    return x * 3


def fixes(x: Tensor) -> Tensor:
    return x.view(16, -1) + int(x.shape[0])


def free(x: Tensor) -> Tensor:
    return torch.relu(x) + 1


def breaks(x: Tensor) -> Tensor:
    y = x * 2
    torch._dynamo.graph_break()
    return y - 1


def loops(x: Tensor) -> Tensor:
    """Dynamo cannot break within a loop: nothing of this is compiled."""
    for _ in range(2):
        x = x + 1
        torch._dynamo.graph_break()
    return x


def grows(x: Tensor) -> Tensor:
    return x.sin()


def refuses(x: Tensor) -> Tensor:
    return x.relu() if x.shape[0] == 8 else x


def checked(x: Tensor) -> Tensor:
    torch._check(x.shape[0] % 8 == 0)
    return x.view(-1, 8, 4) * 2
