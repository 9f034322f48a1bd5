"""What a captured graph demands of the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import CaptureError


@dataclass(frozen=True)
class BatchSymbol:
    """The symbolic size that varies from call to call.

    Attributes:
        symbol: the sympy symbol; None when nothing in the graph varies.
        argument: position of the flat input that it is read from.
        dim: the dimension of that input, or None when the input is the size itself.
    """

    symbol: Any = None
    argument: int = 0
    dim: int | None = None


def batch_symbol(gm: fx.GraphModule, hints: Sequence[int] = ()) -> BatchSymbol:
    """Find the batch size among a graph's inputs.

    Args:
        gm: the captured graph.
        hints: the example's sizes of the dimensions that were marked as dynamic; a symbol that had one of them is
            taken before another.
    """
    found: list[tuple[bool, int, BatchSymbol]] = []
    for position, node in enumerate(gm.graph.find_nodes(op="placeholder")):
        value = node.meta.get("example_value")
        if isinstance(value, torch.SymInt):
            expr = torch_internals.expression(value)
            if expr.is_Symbol:
                found.append((torch_internals.hint(value) not in hints, position, BatchSymbol(expr, position)))
        elif isinstance(value, torch.Tensor):
            for dim, size in enumerate(value.shape):
                expr = torch_internals.expression(size) if isinstance(size, torch.SymInt) else None
                if expr is not None and expr.is_Symbol:
                    other = torch_internals.hint(size) not in hints
                    found.append((other, position, BatchSymbol(expr, position, dim)))
    return min(found, key=lambda entry: entry[:2])[2] if found else BatchSymbol()


def check_dynamic(gm: fx.GraphModule, marked: Sequence[int]) -> None:
    """Raises CaptureError when a dimension that was marked as dynamic was made a constant by the model."""
    if marked and batch_symbol(gm, marked).symbol is None:
        raise CaptureError(
            f"the batch size was compiled in as {marked[0]}",
            "the model used it as a plain number (int(x.shape[0]), a comparison with ==, a Python loop over it)",
            "keep it symbolic, or leave the dimension out of dynamic_arg_dims",
        )


def check_demands(gm: fx.GraphModule, batch: BatchSymbol, sizes: Sequence[int], zero_one: bool) -> None:
    """Hold the guards on the batch size against the sizes that will be run.

    A branch on the batch size is taken at capture, as it was for the example. For other sizes the graph would be
    wrong without a word, because no guard is evaluated at run time.

    Args:
        gm: the captured graph.
        batch: its batch symbol.
        sizes: sizes that will be run; both ends of every range and what lies between.
        zero_one: whether demands that only 0 and 1 break are refused too. Dynamo takes it that a size is at least 2
            whatever the model does; the graph is the general one, and right for 1.

    Raises:
        CaptureError: a size breaks a demand; the demand and the line that made it are named.
    """
    shape_env = torch_internals.shape_env_of(gm)
    if shape_env is None or batch.symbol is None:
        return
    for holds, text, place in torch_internals.demands_on(shape_env, batch.symbol):
        broken = [size for size in sizes if not holds(size) and (zero_one or size > 1)]
        if broken:
            raise CaptureError(
                f"the model branches on the batch size: it was captured for {text} only",
                f"{place or 'the line is not known'}; a batch of {broken[0]} would take another way",
                "take the branch outside of the compiled model, write it as torch.cond, or give compile_ranges within"
                " the demand and compile once for each side",
            )
