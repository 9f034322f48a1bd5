"""What a captured graph demands of the batch size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import CaptureError
from cutaway.torch_internals import Branches


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
        shape_env = torch_internals.shape_env_of(gm)
        place = torch_internals.where_fixed(shape_env) if shape_env is not None else ""
        raise CaptureError(
            f"the batch size was compiled in as {marked[0]}",
            "the model used it as a plain number (a fixed size in view(), a comparison with ==, a Python loop over it)"
            + (f": {place}" if place else ""),
            "keep it symbolic, or leave the dimension out of dynamic_arg_dims",
        )


def check_demands(
    gm: fx.GraphModule, batch: BatchSymbol, sizes: Sequence[int], strict: bool, branches: Branches | None = None
) -> None:
    """Hold the guards on the batch size against the sizes that will be run.

    A branch on the batch size is taken at capture, as it was for the example. For other sizes the graph would be
    wrong without a word, because no guard is evaluated at run time.

    Args:
        gm: the captured graph.
        batch: its batch symbol.
        sizes: sizes that will be run; both ends of every range and what lies between.
        strict: whether a demand that only a batch of 1 breaks is refused, too. Dynamo takes a backed size to be at
            least 2, and torch's own ops make demands such as ``s != 1`` where the graph is right for 1 all the same.
            So, when not strict, only a branch of the model's own Python is told of, by a warning: models that are
            right either way (``is_causal = tokens > 1``) are too many to refuse.
        branches: what that Python branched on.

    Raises:
        CaptureError: a size breaks a demand; the demand and the line that made it are named.
    """
    shape_env = torch_internals.shape_env_of(gm)
    if shape_env is None or batch.symbol is None:
        return
    by_python = branches.demands_on(shape_env, batch.symbol) if branches is not None else []
    for holds, text, place in [*by_python, *torch_internals.demands_on(shape_env, batch.symbol)]:
        broken = [size for size in sizes if not holds(size) and (strict or size > 1)]
        if broken:
            raise CaptureError(
                f"the model branches on the batch size: it was captured for {text} only",
                f"{place or 'the line is not known'}; a batch of {broken[0]} would take another way",
                "take the branch outside of the compiled model, write it as torch.cond, or give compile_ranges within"
                " the demand and compile once for each side",
            )
    for holds, text, place in by_python:
        if 1 in sizes and not holds(1):
            warnings.warn(
                f"cutaway: the model branches on the batch size and was captured for {text} ({place}): a batch of 1"
                " runs as larger ones do. If that is wrong, begin compile_ranges at 2 and compile another copy for 1;"
                " evaluate_guards makes an error of this.",
                RuntimeWarning,
                stacklevel=2,
            )
