"""Patterns over graphs."""

from __future__ import annotations

from typing import Any


def pattern_matcher() -> Any:
    """torch/_inductor/pattern_matcher.py: patterns as expressions, found in a graph and given to a function.

    Used of it: ``PatternMatcherPass``, ``CallFunction``, ``KeywordArg``, ``MULTIPLE``, ``Match``,
    ``register_graph_pattern``, ``stable_topological_sort``.
    """
    from torch._inductor import pattern_matcher  # noqa: PLC0415  (Inductor is heavy)

    return pattern_matcher
