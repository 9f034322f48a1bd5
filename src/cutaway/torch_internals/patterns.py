"""Patterns over graphs, and what a graph that is built anew needs for them."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch


def pattern_matcher() -> Any:
    """torch/_inductor/pattern_matcher.py: patterns as expressions, found in a graph and given to a function.

    Used of it: ``PatternMatcherPass``, ``CallFunction``, ``KeywordArg``, ``MULTIPLE``, ``Match``,
    ``register_graph_pattern``, ``stable_topological_sort``; to explain why one does not match, all kinds of
    ``PatternExpr``, ``PatternEntry``, ``fx_to_pattern``, ``log_trace_failure`` and the marks of mutation regions.
    """
    from torch._inductor import pattern_matcher  # noqa: PLC0415  (Inductor is heavy)

    return pattern_matcher


def patterns_are_skipped_at(node: Any) -> bool:
    """Whether ``PatternMatcherPass.apply`` passes over a node for a dtype that Inductor has no code for.

    torch/_inductor/lowering.py, ``fallback_node_due_to_unsupported_type``.
    """
    from torch._inductor.lowering import fallback_node_due_to_unsupported_type  # noqa: PLC0415  (Inductor is heavy)

    return bool(fallback_node_due_to_unsupported_type(node, allow_cpu_inputs=False))


def guard_or_false(value: Any) -> bool:
    """Whether something holds for all sizes; False when that is not known, and no guard is made.

    torch/fx/experimental/symbolic_shapes.py; the pattern matcher asks it of what extra checks return.
    """
    from torch.fx.experimental.symbolic_shapes import guard_or_false as ask  # noqa: PLC0415  (sympy)

    return bool(ask(value))


def fake_mode_for_table() -> Any:
    """A fake mode whose ShapeEnv tells apart sizes of the same example value, and takes 0 and 1 for sizes as others."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    return torch._subclasses.FakeTensorMode(shape_env=ShapeEnv(duck_shape=False, specialize_zero_one=False))


def size_of_table(mode: Any, name: str, example: int, least: int | None, most: int | None) -> Any:
    """A symbolic size for a symbol of a node table, in a mode of :func:`fake_mode_for_table`.

    torch/fx/experimental/symbolic_shapes.py: ``ShapeEnv.create_symbol``, whose own name for it is another.
    """
    from torch._dynamo.source import ConstantSource  # noqa: PLC0415  (Dynamo: only where a graph is built anew)
    from torch.fx.experimental.symbolic_shapes import DimDynamic  # noqa: PLC0415
    from torch.utils._sympy.numbers import int_oo  # noqa: PLC0415
    from torch.utils._sympy.value_ranges import ValueRanges  # noqa: PLC0415

    shape_env, source = mode.shape_env, ConstantSource(name)
    symbol = shape_env.create_symbol(example, source, dynamic_dim=DimDynamic.DYNAMIC, constraint_dim=None)
    shape_env.var_to_range[symbol] = ValueRanges(-int_oo if least is None else least, int_oo if most is None else most)
    return shape_env.create_symintnode(symbol, hint=example, source=source)


def names_of_arguments(overload: Any) -> list[str]:
    """What an operator's schema calls its arguments, in order (``OpOverload._schema``)."""
    return [argument.name for argument in overload._schema.arguments]


def is_mutation(node: Any) -> bool:
    """Whether the pattern matcher takes a node for one that writes; no pattern may reach across it.

    torch/_inductor/pattern_matcher.py, ``is_mutation_op``.
    """
    return bool(pattern_matcher().is_mutation_op(node))


def lazy_patterns(module: str) -> None:
    """Let a module of ``torch/_inductor/fx_passes`` register what it puts off until its first use (``lazy_init``)."""
    if not module.startswith("torch._inductor.fx_passes."):
        return
    register = getattr(import_module(module), "lazy_init", None)
    if register is not None:
        register()
