"""What a replay found, as JSON: the shape is in docs/dump-format.md."""

from __future__ import annotations

from typing import Any

import msgspec

from cutaway.replay import Comparison, NodeRef, Ran, Replayed, Result, Spot


def replay_json(found: Replayed) -> dict[str, Any]:
    """The answer of `cutaway replay --json`."""
    return {
        "name": found.name,
        "against": found.against,
        "outcome": found.outcome,
        "sizes": dict(found.sizes),
        "seed": found.seed,
        "inputs": found.inputs,
        "recorded": list(found.recorded),
        "notes": list(found.notes),
        "runs": [_run(ran) for ran in found.runs],
        "results": [_result(result) for result in found.results],
        "compared": dict(found.compared),
        "part": _spot(found.part),
        "differ": _spot(found.differ),
        "elsewhere": _spot(found.elsewhere),
        "method": found.method or None,
    }


def _run(ran: Ran) -> dict[str, Any]:
    return {
        "nodes": ran.nodes,
        "random": ran.random,
        "changed_inputs": ran.changed,
        "outputs": msgspec.to_builtins(ran.outputs),
    }


def _result(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "index": result.index,
        "random": result.is_random,
        "comparison": _comparison(result.comparison),
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    facts: dict[str, Any] = msgspec.to_builtins(comparison)
    del facts["twins"]  # what the child tells the parent
    return facts


def _spot(spot: Spot | None) -> dict[str, Any] | None:
    if spot is None:
        return None
    return {
        "before": _node(spot.before),
        "after": _node(spot.after),
        "comparison": _comparison(spot.comparison),
        "between": {
            "before": [_node(node) for node in spot.between[0]],
            "after": [_node(node) for node in spot.between[1]],
        },
    }


def _node(node: NodeRef | None) -> dict[str, Any] | None:
    if node is None:
        return None
    source = msgspec.to_builtins(node.source)
    return {"name": node.name, "line": node.line, "where": node.where, "layer": node.layer, "source": source}
