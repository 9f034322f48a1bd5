"""What a replay found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cutaway.replay.job import Comparison, Ran, Verdict
from cutaway.replay.subject import NodeRef

Outcome = Literal["ran", "same", "close", "apart", "nothing"]
"""One graph ran; two gave equal results, results equal within tolerance, or others; nothing could be compared."""


@dataclass(frozen=True)
class Result:
    """A result of a graph, and how it compares.

    Attributes:
        name: the node; None for what is no node.
        index: which output it is; None for an input that was written to.
        comparison: with the reference's.
        is_random: it depends on random numbers that the two draw differently, so that it says nothing.
    """

    name: str | None
    index: int | None
    comparison: Comparison
    is_random: bool = False

    @property
    def fine(self) -> bool:
        """Whether there is nothing to say against it."""
        return self.is_random or self.comparison.fine


@dataclass(frozen=True)
class Spot:
    """Where two graphs part: the first node, on the way to a result that differs, whose value does.

    Attributes:
        before, after: the node of the reference, and of the other graph; None when no pair of nodes was compared there.
        comparison: of the two.
        between: nodes of each graph that were not compared, between the last values that are the same and these.
    """

    before: NodeRef | None
    after: NodeRef | None
    comparison: Comparison | None
    between: tuple[tuple[NodeRef, ...], tuple[NodeRef, ...]] = ((), ())


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes:
        name: of the graph; `against` of what it was compared with, None when it was not.
        sizes: with which sizes it ran; `seed` of inputs and random numbers.
        recorded: inputs that were recorded; all others were made.
        inputs: how many inputs there are.
        notes: what is to be known of the inputs and of what was left out, in words.
        runs: the runs: of one graph; or of the reference, and of the other.
        results: how the results compare.
        compared: how the nodes in between compare: verdict -> how many.
        part: where they part beyond tolerance; None when no result does.
        differ: where they differ at all; None when all results are the same.
        elsewhere: where nodes differ beyond tolerance, and yet all results are fine; the first of them.
        method: for a graph against itself compiled that parts: how the node was found, "outputs" or "prefixes".
    """

    name: str
    against: str | None
    sizes: Mapping[str, int]
    seed: int
    inputs: int
    recorded: tuple[str, ...]
    notes: tuple[str, ...]
    runs: tuple[Ran, ...]
    results: tuple[Result, ...] = ()
    compared: Mapping[Verdict, int] = field(default_factory=Counter[Verdict])
    part: Spot | None = None
    differ: Spot | None = None
    elsewhere: Spot | None = None
    method: str = ""

    @cached_property
    def outcome(self) -> Outcome:
        """In one word."""
        if self.against is None:
            return "ran"
        if any(not result.fine for result in self.results):
            return "apart"
        told = [result for result in self.results if not result.is_random]
        verdicts = {result.comparison.verdict for result in told} - {"unwritten", "skipped"}
        if not verdicts:
            return "nothing"
        return "close" if "close" in verdicts else "same"
