"""One run of a pass over a graph: what its event says, and where it did something else than was foretold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cutaway.record.compilation import Track


@dataclass(frozen=True)
class PassRun:
    """One run of a pass over a graph.

    Attributes:
        name: the pass.
        leaf: last part of its selector (``post_grad.2.VllmIRLoweringPass``).
        number: its place in the order, as its owner counts.
        ms: how long it took, in milliseconds.
        providers: which provider each lowered node took, when the pass lowers.
        counts: what the pass counted, such as ``matches``.
        notes: what else it has to say, as JSON.
    """

    name: str
    leaf: str
    number: int | None
    ms: float
    providers: Mapping[str, str] | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def surprises(self, before: Track) -> Iterator[dict[str, Any]]:
        """A finding for each node that took another provider than the snapshot before foretold."""
        taken = self.providers or {}
        remembered = before.remembered
        for node, expected in before.facts["providers"].items():
            if taken.get(node, expected) == expected:
                continue
            layer = remembered.rows[remembered.names[node]].get("layer") if node in remembered.names else None
            place = {"node": node, "layer": None if layer is None else remembered.layers[layer][-1]}
            yield {"kind": "provider", "pass": self.name, **place, "expected": expected, "taken": taken[node]}
