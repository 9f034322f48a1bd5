"""What a compile assumes about sizes, and which line of the model made it so; graph breaks and recompiles.

    dump ──guards as text──► read ──► terms (in words, and which sizes are left) ──► Assumptions

Everything is read from what was recorded: nothing is executed, torch is not needed.
"""

from __future__ import annotations

from cutaway.explain.shapes.breaks import Break, Uncaptured, breaks_of, uncaptured
from cutaway.explain.shapes.explain import Assumptions, Recompile, explain_shapes
from cutaway.explain.shapes.read import Constraint, FixedInput, Size

__all__ = [
    "Assumptions",
    "Break",
    "Constraint",
    "FixedInput",
    "Recompile",
    "Size",
    "Uncaptured",
    "breaks_of",
    "explain_shapes",
    "uncaptured",
]
