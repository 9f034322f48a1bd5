"""Programs that hypothesis writes: views, copies, writes of every kind, on inputs and on what was made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from compiler.passes import rewriting
from hypothesis import strategies as st
from torch import Tensor

aten = torch.ops.aten
own = torch.ops.rewriting

Step = tuple[str, int, int]

# Each takes the tensor that is chosen, another one, and returns the new tensors that there are.
MOVES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "clone": lambda x, _: aten.clone(x),
    "clone_again": lambda x, _: aten.clone(x),
    "clone_contiguous": lambda x, _: aten.clone(x, memory_format=torch.contiguous_format),
    "neg": lambda x, _: aten.neg(x),
    "add": lambda x, y: aten.add(x, aten.sum(y)),
    "flat": lambda x, _: aten.view(x, [-1]) if x.is_contiguous() else None,
    "alias": lambda x, _: aten.alias(x),
    "rows": lambda x, _: aten.slice(x, 0, 1, 3) if x.dim() and x.shape[0] > 2 else None,
    "first_rows": lambda x, _: aten.slice(x, 0, 0, 2) if x.dim() and x.shape[0] > 2 else None,
    "row": lambda x, _: aten.select(x, 0, 1) if x.dim() and x.shape[0] > 1 else None,
    "turned": lambda x, _: aten.permute(x, list(range(x.dim()))[::-1]),
    "halves": lambda x, _: aten.split(x, 2) if x.dim() and x.shape[0] > 2 else None,
    "strided": lambda x, _: aten.as_strided(x, [2], [1], 0) if x.untyped_storage().size() >= 8 else None,
    "write": lambda x, _: aten.mul_(x, 2),
    "write_sum": lambda x, y: aten.add_(x, aten.sum(y)),
    "double": lambda x, _: own.double_(x),
    "double_by_name": lambda x, _: own.double_(x=x),
    "add_to_all": lambda x, y: own.add_to_all_([x, y], 1.0) if not rewriting.overlaps(x, y) else None,
    "sum_into": lambda x, y: own.sum_into(aten.neg(x), x, out=y) if x.shape == y.shape else None,
    "copy": lambda x, y: aten.copy_(x, y) if x.shape == y.shape else None,
    "step": lambda x, _: own.step_(x, 1.0),
}  # fmt: skip

_recent = st.one_of(st.integers(0, 2), st.integers(0, 30))  # rather what was made last


def steps_with(*often: str) -> st.SearchStrategy[list[Step]]:
    """Lists of steps, some of which are more frequent than the others."""
    return st.lists(st.tuples(st.sampled_from([*sorted(MOVES), *often]), _recent, _recent), min_size=1, max_size=10)


steps = steps_with("clone", "clone", "clone", "write")
results = st.lists(_recent, min_size=1, max_size=4)


def program(written: list[Step], returned: list[int]) -> Callable[..., list[Tensor]]:
    """The function that a list of steps says; what a step cannot be done to, it leaves."""

    def run(*inputs: Tensor) -> list[Tensor]:
        there = list(inputs)
        for name, one, other in written:
            made = MOVES[name](there[-1 - one % len(there)], there[-1 - other % len(there)])
            there += made if isinstance(made, (tuple, list)) else [made] if made is not None else []
        return [there[-1 - which % len(there)] for which in returned]

    return run
