"""Ops with several implementations: whose choice is compiled in, and by what each is known.

A piece is compiled with the implementations that the priority in force chooses, so its key holds, for every op that may
run in it, that priority and the ``uuid()`` of each provider in it. Which ops those are is found from the graph: the ops
that it calls, those that passes make of them (``InductorPass.produces``), and those that an implementation calls in its
turn. What is registered besides keys nothing.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Any

from torch import fx

from cutaway.compiler.cache.custom_ops import called_operators
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.errors import OpError
from cutaway.identity.sources import UncacheableError
from cutaway.ops.lookup import ir_op_of, registry
from cutaway.ops.op import IrOp
from cutaway.ops.wrap import DEFAULT, SCOPE

_DEEPEST = 6


def ir_factors(nodes: Iterable[fx.Node], passes: Iterable[InductorPass]) -> dict[str, Any]:
    """The ``ir`` section: schema, priority in force, and identities of the providers in it, of each op that may run.

    Args:
        nodes: of the graph, those of nested graphs too.
        passes: that will rewrite it.

    Raises:
        UncacheableError: an implementation cannot be told from its like in another process.
    """
    return factors_of(ops_in(nodes, passes))


def ops_in(nodes: Iterable[fx.Node], passes: Iterable[InductorPass]) -> set[str]:
    """Names of the ops that a graph calls, or may call once these passes have run."""
    calls = (ir_op_of(overload) for node in nodes for overload in called_operators(node))
    found = {op.name for op in calls if op is not None}
    produced = [item for one in passes for item in one.produces.items()]
    while True:
        more = {name for name, parts in produced if name in registry and found.issuperset(parts)}
        more |= {inner.name for name in found | more for inner in _called_by(registry[name])}
        if more <= found:
            return found
        found |= more


def factors_of(names: Iterable[str]) -> dict[str, Any]:
    """What of these ops is compiled in; None for one that is not registered (any more)."""
    return {name: _op(registry[name]) if name in registry else None for name in sorted(names)}


def traced_factors() -> dict[str, Any]:
    """What a whole model depends on because Dynamo, with torch wrapping off, traces into implementations."""
    on = SCOPE.scoped
    wrapped = DEFAULT.on if on is None else on
    return {"wrapped": wrapped, "ops": {} if wrapped else factors_of(registry)}


def _op(op: IrOp) -> dict[str, Any]:
    return {
        "schema": op.schema,
        "in place": op.allow_inplace,
        "priority": list(op.priority),
        "providers": {provider: _uuid(op, provider) for provider in op.priority},
    }


def _uuid(op: IrOp, provider: str) -> str:
    try:
        return op.impls[provider].uuid()
    except (OpError, OSError, TypeError) as error:
        raise UncacheableError(f"provider {provider} of op {op.name}", str(error)) from error


def _called_by(op: IrOp) -> Iterator[IrOp]:
    """Ops that the implementations in force of an op name, in themselves or in functions beside them."""
    seen: set[int] = set()
    for provider in op.priority:
        yield from _named_in(op.impls[provider].function, seen, 0)


def _named_in(function: Any, seen: set[int], depth: int) -> Iterator[IrOp]:
    if not isinstance(function, types.FunctionType) or id(function) in seen or depth > _DEEPEST:
        return
    seen.add(id(function))
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    values = [function.__globals__.get(name) for name in _names(function.__code__)]
    for value in (*cells, *values):
        if isinstance(value, IrOp):
            yield value
        elif getattr(value, "__module__", None) == function.__module__:
            yield from _named_in(value, seen, depth + 1)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _names(const)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is bound later
        return False
