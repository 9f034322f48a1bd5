"""The JSON of `cutaway why pattern`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cutaway.explain.patterns import Explained, Finding, History


def pattern_json(found: Explained) -> dict[str, Any]:
    """Of a pattern that was held against graphs."""
    return {
        "asked": found.asked,
        "graphs": found.graphs,
        "patterns": found.patterns,
        "matches": [_finding(finding) for finding in found.matches],
        "misses": [_finding(finding) for finding in found.misses],
        "ran": found.history.passes,
        "absent": found.history.absent,
        "by_its_own_code": [
            {"graph": found.graphs[ran.graph], "changed": ran.changed, "problem": ran.problem} for ran in found.ran
        ],
        "unknown": found.unknown,
    }


def passes_json(history: History) -> dict[str, Any]:
    """Of all passes of a dump."""
    return {"passes": history.passes, "never": history.never}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "patterns": finding.patterns,
        "got": finding.got,
        "of": finding.of,
        "op": finding.op,
        "count": finding.count,
        "where": finding.where,
        "ranges": finding.ranges,
        "reasons": finding.reasons,
        "behind": finding.farther,
        "places": [asdict(place) for place in finding.places],
    }
