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
from cutaway.torch_internals import Branches, Demand

Span = tuple[int, int]


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
    gm: fx.GraphModule, batch: BatchSymbol, spans: Sequence[Span], strict: bool, branches: Branches | None = None
) -> None:
    """Hold what the graph demands of sizes against all that will be run.

    A branch on a size is taken at capture, as it was for the example. For other sizes the graph would be wrong
    without a word, because no guard is evaluated at run time.

    Args:
        gm: the captured graph.
        batch: its batch symbol.
        spans: batch sizes that will be run, as (first, last). Any other dynamic size may be anything.
        strict: whether a demand that only a size of 1 breaks is refused, too. Dynamo takes a backed size to be at
            least 2, and torch's own ops make demands such as ``s != 1`` where the graph is right for 1 all the same.
            So, when not strict, only a branch of the model's own Python is told of, by a warning: models that are
            right either way (``is_causal = tokens > 1``) are too many to refuse. Strict means that guards are
            evaluated at every call; so what is demanded of sizes other than the batch is left to them.
        branches: what that Python branched on.

    Raises:
        CaptureError: sizes break a demand, or it cannot be told; the demand and the line that made it are named.
    """
    shape_env = torch_internals.shape_env_of(gm)
    if shape_env is None or batch.symbol is None:
        return
    by_python = branches.demands_of(shape_env) if branches is not None else []
    guards = torch_internals.demands_of(shape_env)
    evaluated = {demand.expr for demand in guards if demand.symbols != (batch.symbol,)} if strict else set[Any]()
    once = {demand.expr: demand for demand in reversed([*by_python, *guards])}  # layers that repeat ask the same
    asked = {demand.expr for demand in by_python}
    for demand in reversed(once.values()):
        if any(_is_layout(shape_env, symbol) for symbol in demand.symbols):
            continue  # InputContract holds strides; where a size comes to equal one, only layouts are others
        broken = _broken(shape_env, demand, batch, spans, least=2)
        if demand.expr in evaluated or (strict and broken is not None and demand.symbols != (batch.symbol,)):
            continue
        if broken is None and (strict or demand.expr in asked):
            broken = _broken(shape_env, demand, batch, spans, least=1)
            if broken is not None and not strict:
                _warn_of_one(shape_env, demand, batch)
                continue
        if broken is not None:
            raise _refused(shape_env, demand, batch, broken)


def _is_layout(shape_env: Any, symbol: Any) -> bool:
    """Whether a symbol is a stride of an argument, or where it begins in its memory."""
    source = torch_internals.symbol_facts(shape_env, symbol)["source"] or ""
    return ".stride()[" in source or source.endswith(".storage_offset()")


def _broken(
    shape_env: Any, demand: Demand, batch: BatchSymbol, spans: Sequence[Span], least: int
) -> dict[Any, int] | None:
    """See :func:`torch_internals.broken_by`; sizes below ``least`` are left out."""
    run = [(max(first, least), last) for first, last in spans if last >= least]
    return torch_internals.broken_by(
        demand,
        {
            symbol: run if symbol == batch.symbol else [torch_internals.own_span(shape_env, symbol, least)]
            for symbol in demand.symbols
        },
    )


def _refused(shape_env: Any, demand: Demand, batch: BatchSymbol, broken: dict[Any, int]) -> CaptureError:
    names = {symbol: torch_internals.size_name(shape_env, symbol) for symbol in demand.symbols}
    place = demand.place or "the line is not known"
    if demand.symbols == (batch.symbol,):
        other = f"a batch of {broken[batch.symbol]} would take another way" if broken else _UNKNOWN
        return CaptureError(
            f"the model branches on the batch size: it was captured for {demand.text} only",
            f"{place}; {other}",
            f"{_OUTSIDE}, or give compile_ranges within the demand and compile once for each side",
        )
    said = ", ".join(f"{symbol} is {name}" for symbol, name in names.items() if name != str(symbol))
    values = ", ".join(f"{names[symbol]} = {value}" for symbol, value in broken.items())
    other = f"{values} would take another way" if broken else _UNKNOWN
    return CaptureError(
        f"the model branches on dynamic sizes: it was captured for {demand.text} only",
        f"{place}; {said + '; ' if said else ''}{other}",
        f"{_OUTSIDE}, take the dimension out of dynamic_arg_dims, or set evaluate_guards=True: then each call is held"
        " to it",
    )


_UNKNOWN = "whether all sizes take the same way cannot be told"
_OUTSIDE = "take the branch outside of the compiled model, write it as torch.cond"


def _warn_of_one(shape_env: Any, demand: Demand, batch: BatchSymbol) -> None:
    what, one = "the batch size", "a batch of 1"
    if demand.symbols != (batch.symbol,):
        what = one = " or ".join(torch_internals.size_name(shape_env, symbol) for symbol in demand.symbols)
        one = f"{one} of 1"
    warnings.warn(
        f"cutaway: the model branches on {what} and was captured for {demand.text} ({demand.place}): {one}"
        " runs as larger ones do. If that is wrong, begin compile_ranges at 2 and compile another copy for 1;"
        " evaluate_guards makes an error of this.",
        RuntimeWarning,
        stacklevel=2,
    )
