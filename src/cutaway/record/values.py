"""What a node of a compile holds, told without adding a guard: its value, the sizes it was captured with, its uses."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from cutaway import torch_internals


def node_value(node: fx.Node) -> Any:
    """The fake value of a node: ``val`` from AOTAutograd on, ``example_value`` before."""
    value = node.meta.get("val")
    return node.meta.get("example_value") if value is None else value


def described(value: Any) -> Any:
    """A hashable description: dtype, device, sizes and strides as captured; the text of what is no tensor."""
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return value.dtype, str(value.device), *map(torch_internals.hint, (*value.shape, *value.stride()))


def copied(value: torch.Tensor) -> torch.Tensor:
    """A strided tensor as it is now, in memory of its own, with its strides."""
    value = value.detach()
    span = 1 + sum((size - 1) * step for size, step in zip(value.shape, value.stride(), strict=True))
    if 0 < span <= value.numel():  # dense, or with elements that lie at the same place
        return value.as_strided((span,), (1,)).clone().as_strided(value.shape, value.stride(), 0)
    same = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    return same.copy_(value) if value.numel() else same


def concrete(value: Any) -> Any:
    """The value with the numbers that its sizes were captured with. Call it in a fake mode: it allocates."""
    hint = torch_internals.hint
    if not isinstance(value, torch.Tensor):
        return hint(value) if isinstance(value, torch.SymInt) else value
    sizes, strides = list(map(hint, value.shape)), list(map(hint, value.stride()))
    return torch.empty_strided(sizes, strides, dtype=value.dtype, device=value.device)


def called(node: fx.Node) -> Any:
    """What a node calls; for auto_functionalized, the operator that it holds."""
    return node.args[0] if torch_internals.is_higher_order(node.target) and node.args else node.target


def final_uses(node: fx.Node) -> list[tuple[fx.Node, int | str]]:
    """Uses of a node as (user, position or name), followed into the pieces that a stitching graph calls."""
    found: list[tuple[fx.Node, int | str]] = []
    for user in node.users:
        positions = [index for index, arg in enumerate(user.args) if arg is node]
        names = [name for name, arg in user.kwargs.items() if arg is node]
        module = user.graph.owning_module
        if user.op == "call_module" and module is not None:
            inner: Any = module.get_submodule(str(user.target))
            inputs = [part for part in inner.graph.nodes if part.op == "placeholder"]
            found += [use for position in positions for use in final_uses(inputs[position])]
        else:
            found += [(user, key) for key in (*positions, *names)]
    return found
