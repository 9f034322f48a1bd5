"""Which part is at fault, and why: the ladder, bisection inside of a part, constraints, patterns, caches.

:func:`isolate` finds the part of the compiler that makes a model wrong, crash or slow; ``cutaway isolate`` does so for
vLLM and for any program. :func:`explain_shapes`, :func:`explain_pattern`, :func:`find_unfused` and
:func:`explain_cache` are what ``cutaway why`` asks of a dump.
"""

from __future__ import annotations

from cutaway.explain.cache import explain_cache
from cutaway.explain.isolate import isolate
from cutaway.explain.patterns import explain_pattern, find_unfused
from cutaway.explain.shapes import explain_shapes
from cutaway.explain.verdict import Verdict

__all__ = ["Verdict", "explain_cache", "explain_pattern", "explain_shapes", "find_unfused", "isolate"]
