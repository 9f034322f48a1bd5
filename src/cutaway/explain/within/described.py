"""Nodes and values of a split graph in JSON: of which kind they are, and nothing of what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx


def listed(node: fx.Node) -> Sequence[Any]:
    """The arguments of a node; of the output, what is returned."""
    first = node.args[0] if node.op == "output" else None
    return first if isinstance(first, (tuple, list)) else node.args


def described(value: Any) -> Any:
    """Of which kind a value is: nothing of what is in it."""
    if isinstance(value, torch.Tensor):
        return {"shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, (tuple, list)):
        return {"items": [described(one) for one in value]}
    return {"number": value} if isinstance(value, (bool, int, float)) else None
