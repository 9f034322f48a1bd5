"""Generators of random numbers: seeded before each node, so that two graphs draw the same at nodes that correspond."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from cutaway import torch_internals


def seeded(seed: int) -> torch.Tensor:
    """Seed every generator of this process; returns their state."""
    torch.manual_seed(seed)
    return state()


def state() -> torch.Tensor:
    """The state of the generators of this process."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return torch.cat(states)


def drawing_once(function: Any) -> Any:
    """What a node calls, drawing as many numbers as it returns.

    Torch runs the operators that Inductor puts in the place of `rand` twice, once for the result's shape (`_prim_impl`
    in torch/_prims/__init__.py), so that they return other numbers than `rand` does after the same seed.
    """
    overload = torch_internals.op_overload(function)
    name = overload.name().partition(".")[0] if overload is not None else ""
    return _DRAWS.get(name, function)


def _random(size: list[int], seed: torch.Tensor, mode: str, *, align_dtype: Any = None) -> torch.Tensor:
    return getattr(torch, mode)(size, device=seed.device, dtype=torch.float32)


def _randint(low: int, high: int, size: list[int], seed: torch.Tensor) -> torch.Tensor:
    return torch.randint(low, high, size, device=seed.device)


_DRAWS: Mapping[str, Callable[..., torch.Tensor]] = {
    "prims::inductor_random": _random,
    "prims::inductor_randint": _randint,
}
