"""Where a pattern matched, and at each near miss which part of it did not fit.

    dump ──graphs──► job ──launch──► child: rebuild ► sources ► match, check ──► answer ──fold──► Explained

The parent reads the dump and needs no torch. The child imports the pattern, builds the graphs anew out of their node
tables (data: nothing of the dump is executed), and holds one against the other.
"""

from __future__ import annotations

from cutaway.explain.patterns.fold import Finding, Place
from cutaway.explain.patterns.history import Absence, History, PassRuns, passes_of
from cutaway.explain.patterns.run import Explained, explain_pattern
from cutaway.explain.patterns.unfused import Chain, Handed, Unfused, find_unfused

__all__ = [
    "Absence",
    "Chain",
    "Explained",
    "Finding",
    "Handed",
    "History",
    "PassRuns",
    "Place",
    "Unfused",
    "explain_pattern",
    "find_unfused",
    "passes_of",
]
