"""What an event says of a graph, out of its node table: operators, layers, and how much is known of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cutaway.record.layers.words import short_name


def op_counts(table: Mapping[str, Any]) -> dict[str, int]:
    """How often each operator is called in a table, by short name."""
    counts: dict[str, int] = {}
    for row in table["nodes"]:
        if row["op"].startswith("call_"):
            name = short_name(row["target"]) if row["op"] == "call_function" else row["target"]
            counts[name] = counts.get(name, 0) + 1
    return counts


def ops_delta(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """``{operator: change of its count}``, largest change first; unchanged operators are left out."""
    change = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    return {name: change[name] for name in sorted(change, key=lambda name: (-abs(change[name]), name)) if change[name]}


def coverage(table: Mapping[str, Any]) -> dict[str, float]:
    """Per cent of the call nodes that carry a layer, a source line and an origin."""
    calls: Sequence[dict[str, Any]] = [row for row in table["nodes"] if row["op"].startswith("call_")]
    total = len(calls) or 1
    keys = {"layer": "layer", "source": "source", "origin": "from"}
    return {
        name: round(100.0 * (sum(key in row for row in calls) if calls else total) / total, 1)
        for name, key in keys.items()
    }


def layers_of(table: Mapping[str, Any]) -> list[str]:
    """Unique layer paths (``layers.0.mlp``) in the order in which they first appear."""
    found: dict[str, None] = {}
    for path in table["layers"]:
        for part in path:
            fqn, separator, _ = part.partition(": ")
            if separator:
                found.setdefault(fqn)
    return list(found)
