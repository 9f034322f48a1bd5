"""In what two graphs differ, in one line."""

from __future__ import annotations

from cutaway.dump.compare.course import StepPair
from cutaway.dump.diff import Rewrite, diff
from cutaway.dump.query.labels import label
from cutaway.errors import DumpError

OPERATORS = 4
"""So many are named, those of which the number changed most."""


def difference(pair: StepPair) -> str:
    """`812 → 740 nodes, rms_norm −64`; why it cannot be told, when a graph is not in the dump."""
    if pair.a is None or pair.b is None or pair.a.snapshot is None or pair.b.snapshot is None:
        return "only in one"
    try:
        found = diff(pair.a.snapshot, pair.b.snapshot)
    except DumpError as error:
        return f"differs, but in what cannot be told: {error}"
    if found.ops_delta:
        return found.summarised(OPERATORS)
    changes = [f"{rewrite.text}{_where(rewrite)}" for rewrite in found.rewrites]
    more = [f"{len(changes) - OPERATORS} more"] if len(changes) > OPERATORS else []
    return "; ".join([found.summarised(OPERATORS), *changes[:OPERATORS], *more])


def _where(rewrite: Rewrite) -> str:
    layers = label([layer for layer in rewrite.layers if layer])
    return f" in {layers}" if layers else ""
