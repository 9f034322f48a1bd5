"""Symbols of a ShapeEnv: what is known of them, and numbers made of them."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import torch

SymbolicNumber = (torch.SymInt, torch.SymFloat, torch.SymBool)


class NumberParts(NamedTuple):
    """What a symbolic number is made of.

    Attributes:
        expr: its expression; equalities that were learnt since it was made are not put in.
        kind: int, float or bool.
        hint: what it is for the example's sizes, if that is known.
        shape_env: whose symbols those in the expression are.
    """

    expr: Any
    kind: type
    hint: Any
    shape_env: Any


def parts_of_number(number: Any) -> NumberParts | None:
    """A symbolic number taken apart; None for one that is no expression of a ShapeEnv (a nested size).

    torch/fx/experimental/sym_node.py, ``SymNode``.
    """
    node = number.node
    expr, hint = getattr(node, "_expr", None), getattr(node, "_hint", None)
    plain = hint is None or type(hint) in (int, float, bool)
    return NumberParts(expr, node.pytype, hint, node.shape_env) if plain and hasattr(expr, "free_symbols") else None


def with_equalities(shape_env: Any, expr: Any) -> Any:
    """An expression with the equalities that the ShapeEnv knows put in, as operators see it (``SymNode.expr``)."""
    return shape_env.replace(expr)


def symbolic_number(expr: Any, shape_env: Any, kind: type, hint: Any) -> Any:
    """A SymInt, SymFloat or SymBool of an expression.

    Args:
        expr: a sympy expression.
        shape_env: whose symbols are in it.
        kind: int, float or bool.
        hint: what it is for the example's sizes; None when that is not known. torch would compute it, in 40 us.
    """
    from torch.fx.experimental import sym_node  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    made = {int: torch.SymInt, float: torch.SymFloat, bool: torch.SymBool}[kind]
    return made(sym_node.SymNode(expr, shape_env, kind, sym_node._NO_HINT if hint is None else hint))


@functools.lru_cache(maxsize=8192)
def free_symbols(expr: Any) -> tuple[Any, ...]:
    """The symbols in a sympy expression, by name."""
    return tuple(sorted(expr.free_symbols, key=lambda symbol: (len(symbol.name), symbol.name)))


@functools.lru_cache(maxsize=8192)
def renamed(expr: Any, before: tuple[Any, ...], after: tuple[Any, ...]) -> Any:
    """An expression with symbols put in the place of others, all at once."""
    return expr.xreplace(dict(zip(before, after, strict=True)))


_NUMBER = re.compile(r"\d+$")


@functools.lru_cache(maxsize=8192)
def numbered(symbol: Any, number: int) -> Any:
    """The symbol that stands for the ``number``-th of its kind in a key; sympy is told the same of both.

    torch reads a symbol's kind off its name (torch/utils/_sympy/symbol.py): s for a size, u for an unbacked one, ...
    """
    return type(symbol)(f"{_NUMBER.sub('', symbol.name)}{number}", **symbol.assumptions0)


def own_facts(shape_env: Any, symbol: Any) -> tuple[Any, ...]:
    """What a ShapeEnv knows of one symbol alone and tracing may use; hashable.

    The bounds, the example's value, a hint given in its place, and whether it is a size, and an input.
    """
    bounds = shape_env.var_to_range.get(symbol)
    return (
        None if bounds is None else (bounds.lower, bounds.upper),
        shape_env.backed_var_to_val.get(symbol),
        shape_env.var_to_hint_override.get(symbol),
        symbol in shape_env.size_like,
        symbol in shape_env.unbacked_inputs,
        _assumptions(symbol),
    )


@functools.lru_cache(maxsize=1024)
def _assumptions(symbol: Any) -> frozenset[Any]:
    return frozenset(symbol.assumptions0.items())


def is_size_like(shape_env: Any, symbol: Any) -> bool:
    """Whether a symbol whose value is not looked at (unbacked) is a size of an input."""
    return symbol in shape_env.size_like


def relations(shape_env: Any) -> list[tuple[Any, ...]]:
    """What a ShapeEnv knows of symbols together, each as (what it is, expressions): all that it reasons from.

    Guards, asserts left for run time, what divides what, and symbols that equal something else.
    """
    found: list[tuple[Any, ...]] = [("guard", bool(guard.size_oblivious), guard.expr) for guard in shape_env.guards]
    for asserts in shape_env.deferred_runtime_asserts.values():
        found += [("assert", one.expr) for one in asserts]
    found += [("divisible", expr) for expr in shape_env.divisible]
    found += [("equal", symbol, expr) for symbol, expr in shape_env.replacements.items()]
    found += [("renamed", one, other) for one, other in shape_env.unbacked_renamings.items()]
    return found


def settings_of_shapes(shape_env: Any) -> tuple[Any, ...] | None:
    """How a ShapeEnv reasons; hashable. None when it takes example values for true (``propagate_real_tensors``)."""
    if shape_env.real_tensor_prop_unbacked_vals:
        return None
    given = shape_env.settings
    return (*(getattr(given, name) for name in given.__dataclass_fields__), shape_env.runtime_asserts_frozen)


def state_of_shapes(shape_env: Any) -> tuple[Any, ...]:
    """All that a ShapeEnv knows, to be compared with what it knows later."""
    return (
        relations(shape_env),
        dict(shape_env.var_to_range),
        dict(shape_env.backed_var_to_val),
        set(shape_env.size_like),
        len(shape_env.pending_fresh_unbacked_symbols),
        shape_env.unbacked_symint_counter,
        shape_env.unbacked_symfloat_counter,
    )


def is_expression(value: Any) -> bool:
    """Whether something is a sympy expression, relations and truth values included."""
    return hasattr(value, "free_symbols")
