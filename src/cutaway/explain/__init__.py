"""Which part is at fault, and why: the ladder, bisection inside of a part, constraints, patterns, caches.

:func:`isolate` finds the part of the compiler that makes a model wrong, crash or slow; ``cutaway isolate`` does so for
vLLM and for any program.
"""

from __future__ import annotations

from cutaway.explain.isolate import isolate
from cutaway.explain.verdict import Verdict

__all__ = ["Verdict", "isolate"]
