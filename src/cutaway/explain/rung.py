"""A rung of the ladder with its trials, and what all of them show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cutaway.explain.trial import EVERYTHING_ON, PARTS, Observation
from cutaway.explain.trial.judge import Assessment, ReferenceJudge

Outcome = Literal["found", "own", "none", "between", "unknown"]
"""The part is known; the fault is in eager too; there was no fault to see; it lies between two rungs, those between
cannot be tried; it was stopped before."""


@dataclass
class Rung:
    """A rung, and what its trials showed.

    Attributes:
        part: which is the last that is off; None for everything on.
        trials: its observations, and what is to be said of each.
    """

    part: str | None
    trials: list[tuple[Observation, Assessment]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """In words."""
        if self.part is None:
            return EVERYTHING_ON
        if self.part in ("eager", "compile"):
            return "eager" if self.part == "eager" else "compile off"
        return f"{PARTS[self.part].removeprefix('the ')} off"

    @property
    def faulty(self) -> int:
        """In how many trials the fault was there."""
        return sum(said.faulty for _, said in self.trials)

    @property
    def right(self) -> int:
        """In how many it was not."""
        return sum(said.usable and not said.faulty for _, said in self.trials)

    @property
    def is_unusable(self) -> bool:
        """Whether it was tried, and tells nothing."""
        return bool(self.trials) and not self.faulty and not self.right

    @property
    def words(self) -> str:
        """What is to be said of it: of the trial that shows the fault, or of the last."""
        shown = next((said for _, said in self.trials if said.faulty), None)
        return (shown or self.trials[-1][1]).words if self.trials else ""


@dataclass(frozen=True)
class Climbed:
    """What the ladder shows.

    Attributes:
        outcome: see `Outcome`.
        part: of "found", the part at fault; of "between", the first of those that may be.
        rungs: those that were tried, from the top.
        judge: by which further trials are judged; None before there is a reference.
        fault: the observation that showed the fault first.
        between: the parts that may be at fault.
        warm: the fault is there on a warm start only, over caches that a cold one has just left.
        rate: share of trials (or rounds) that showed it, when it comes and goes; else 1.
        why: of "none" and "own", in words.
    """

    outcome: Outcome
    part: str | None = None
    rungs: Sequence[Rung] = ()
    judge: ReferenceJudge | None = None
    fault: Observation | None = None
    between: tuple[str, ...] = ()
    warm: bool = False
    rate: float = 1.0
    why: str = ""

    @property
    def chance(self) -> float:
        """How probable it is that the rung below was right by chance, the fault being there all the same."""
        rung = next((one for one in self.rungs if one.part == self.part), None)
        if rung is None or self.part is None:
            return 1.0
        if self.rate < 1:  # it comes and goes, from one call to the next
            return (1 - self.rate) ** sum(said.rounds for _, said in rung.trials if said.usable and not said.faulty)
        seen = sum(one.faulty for one in self.rungs)
        return (1 - (seen + 1) / (seen + 2)) ** rung.right  # Laplace's rule of succession
