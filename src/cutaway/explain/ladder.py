"""The ladder: everything on, then one part after another off; the first rung at which the fault goes names the part.

    everything on ─ CUDA graphs off ─ caches off ─ custom passes off ─ Inductor off ─ compile off ─ eager
      faulty                                 ?                                              right

Each rung turns off what those before it do, so that where the fault goes can be bisected: with both ends known, three
trials place it among seven rungs. Both rungs beside the place are observed, never inferred. A fault that comes and
goes is one that was seen in some trials or rounds of a rung and not in others; a rung then counts as right only after
so many trials that a fault with the rate seen so far would have stayed away by chance in fewer than one case of twenty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from cutaway.errors import IsolateError
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Progress
from cutaway.explain.rung import Climbed, Outcome, Rung
from cutaway.explain.trial import EVERYTHING_ON, PARTS, Observation, Setting, Trial, at
from cutaway.explain.trial.judge import Assessment, ReferenceJudge

CHANCE = 0.05
MOST_TRIALS, MOST_ROUNDS = 8, 16
CHEAP = 15.0
"""Seconds; longer trials are repeated only when nothing else confirms what they show."""
SLOWER = 1.3
"""A subject is slow when it takes so many times as long as eagerly."""


class OutOfTimeError(Exception):
    """The budget does not allow another trial; caught where the search is told."""


class Ladder:
    """Climbs the ladder.

    Args:
        trial: runs the subject.
        budget: what may be spent.
        progress: told of every step.
        expected: what is right, where the user says so; else eager is.
        tolerance: for outputs; None for what suits the dtype.
        slow: whether the fault is that it is slow.
        repeats: how often everything on is tried, before it is said that there is no fault.
        skipped: parts whose rung changes nothing here.
    """

    def __init__(
        self,
        trial: Trial,
        budget: Budget,
        progress: Progress,
        *,
        expected: Observation | None = None,
        tolerance: float | None = None,
        slow: bool = False,
        repeats: int = 3,
        skipped: Mapping[str, str] | None = None,
    ) -> None:
        self.trial = trial
        self.budget = budget
        self.progress = progress
        self.repeats = max(1, repeats)
        self.slow = slow
        named = "eager" if expected is None else "what is expected"
        self.judge = ReferenceJudge(expected, None, tolerance, slow, named)
        self.rungs = [Rung(None), *(Rung(part) for part in PARTS if part not in (skipped or {}))]
        self.warm = False
        self.rounds = Setting().rounds
        self.took = 0.0
        self._confirms = False

    def climb(self) -> Climbed:
        """Find the part.

        Raises:
            IsolateError: the subject cannot be tried at all.
            OutOfTimeError: the budget is spent; `known` says what is known.
        """
        top, bottom = self.rungs[0], self.rungs[-1]
        first = self._observe(top)
        if first.outcome == "unusable":
            raise IsolateError("nothing can be tried", first.why, "correct that, and start again")
        eager = self._observe(bottom)
        self._take_reference(first, eager)
        if (own := self._own()) is not None:
            return own
        if not top.faulty and not self._show_again():
            return self._told("none", why=top.words)
        self._take_fault()
        return self._bisect()

    def confirm(self) -> Climbed:
        """Repeat the trial of the rung where the fault goes, unless that was done.

        Raises:
            OutOfTimeError: the budget is spent.
        """
        self._confirms = True
        return self._bisect()

    def known(self) -> Climbed:
        """What is known, when it was stopped."""
        low, high = self._ends()
        if low is None or high is None:
            return self._told("unknown")
        between = tuple(rung.part for rung in self.rungs[low + 1 : high + 1] if rung.part is not None)
        outcome: Outcome = "found" if len(between) == 1 else "between"
        return self._told(outcome, between[0], between=between)

    # -- the two ends -------------------------------------------------------------------------------------

    def _take_reference(self, first: Observation, eager: Observation) -> None:
        """Judge by eager, or by what is expected; then say of both what could not be said before."""
        if eager.outcome == "unusable":
            raise IsolateError("eager cannot be tried", eager.why, "without it there is nothing to compare with")
        if self.slow:
            self.judge = replace(self.judge, reference=eager, fault=first)
        elif self.judge.reference is None and eager.outcome == "ok":
            self.judge = replace(self.judge, reference=eager)
        self._judge_again()

    def _own(self) -> Climbed | None:
        """The answer when the fault is in eager too, or when time is no fault."""
        top, bottom = self.rungs[0], self.rungs[-1]
        first, eager = top.trials[0][0], bottom.trials[0][0]
        if self.slow:
            return self._not_slow(first, eager)
        if eager.outcome in ("crash", "timeout"):
            if first.outcome == "ok":
                raise IsolateError(
                    "eager does not run, and compiled it does", bottom.words, "say what is right with --expect"
                )
            same = first.signature is None or eager.signature is None or first.signature.is_same_as(eager.signature)
            # Dynamo tells an exception of the model in words of its own: another crash is no reason to look further
            # before eager runs.
            other = "" if same else f"; with everything on it is told as {top.words}"
            return self._told("own", why=bottom.words + other)
        if bottom.faulty:
            return self._told("own", why=bottom.words)
        alone = replace(self.judge, reference=None)
        own = alone.assess(eager)
        if own.faulty and self.judge.named == "eager":  # NaNs, an exit code, and nobody says that they are right
            for rung in (top, bottom):
                rung.trials = [(found, alone.assess(found)) for found, _ in rung.trials]
            return self._told("own", why=own.words)
        return None

    def _not_slow(self, first: Observation, eager: Observation) -> Climbed | None:
        for observation, name in ((first, EVERYTHING_ON), (eager, "eager")):
            if observation.took is None:
                raise IsolateError(f"{name} gave no time", observation.why, "look for the crash first, without --slow")
        assert first.took is not None, "looked at just now"
        assert eager.took is not None, "looked at just now"
        if first.took >= SLOWER * eager.took:
            return None
        return self._told("none", why=f"{first.took:.3g} s with everything on, and {eager.took:.3g} s in eager")

    def _show_again(self) -> bool:
        """Everything on once more, over the caches that it left, and a few times over: whether the fault shows."""
        top = self.rungs[0]
        while len(top.trials) < self.repeats:
            self.warm = len(top.trials) == 1
            self.rounds = min(MOST_ROUNDS, self.rounds * 2)
            self._observe(top)
            if top.faulty:
                return True
        self.warm = False
        return False

    def _take_fault(self) -> None:
        """From now on a trial is judged by the fault that was seen."""
        fault = next(found for found, said in self.rungs[0].trials if said.faulty or self.slow)
        self.judge = replace(self.judge, fault=fault)
        self._judge_again()
        self.progress.learn(f"the fault is there with everything on, and not in eager: {self.rungs[0].words}")

    def _judge_again(self) -> None:
        for rung in self.rungs:
            rung.trials = [(found, self.judge.assess(found)) for found, _ in rung.trials]
        if self.slow and self.rungs[0].trials:
            found, said = self.rungs[0].trials[0]
            self.rungs[0].trials[0] = (found, Assessment(True, said.words, 1))

    # -- between them -------------------------------------------------------------------------------------

    def _bisect(self) -> Climbed:
        while True:
            low, high = self._ends()
            assert low is not None, "the fault was seen"
            assert high is not None, "eager is right"
            inner = [index for index in range(low + 1, high) if not self.rungs[index].is_unusable]
            if inner:
                self._try(self.rungs[inner[len(inner) // 2]])
                continue
            below = self.rungs[high]
            if below.right < self.needed and len(below.trials) < MOST_TRIALS:
                self._observe(below)
                continue
            return self.known()

    def _ends(self) -> tuple[int | None, int | None]:
        """The last rung that showed the fault, and the first after it that is right, often enough."""
        low = max((index for index, rung in enumerate(self.rungs) if rung.faulty), default=None)
        if low is None or low == len(self.rungs) - 1:
            return low, None
        right = [index for index in range(low + 1, len(self.rungs)) if self.rungs[index].right]
        return low, min(right, default=None)

    def _try(self, rung: Rung) -> None:
        """Try a rung until it shows the fault, or is right often enough for one that comes and goes."""
        wanted = self.needed if self._rate() < 1 else 1
        while not rung.faulty and len(rung.trials) < wanted:
            self._observe(rung)

    def _rate(self) -> float:
        """The share of trials, above the place where it goes, that showed the fault; rounds within a trial count."""
        low, _ = self._ends()
        trials = [said for rung in self.rungs[: (low or 0) + 1] for _, said in rung.trials if said.usable]
        if self.slow or not trials or all(said.faulty and said.times >= said.rounds for said in trials):
            return 1.0
        rounds = sum(said.rounds for said in trials)
        return max(sum(said.times for said in trials) / rounds, 1 / (2 * rounds))

    @property
    def needed(self) -> int:
        """How often a rung must be right."""
        rate = self._rate()
        if rate >= 1:
            return 2 if self._confirms or self.took < CHEAP else 1
        rounds = max((said.rounds for rung in self.rungs for _, said in rung.trials if said.usable), default=1)
        once = 1 - (1 - rate) ** rounds
        return min(MOST_TRIALS, max(2, math.ceil(math.log(CHANCE) / math.log(max(1e-9, 1 - once)))))

    # -- trials -------------------------------------------------------------------------------------------

    def _observe(self, rung: Rung) -> Observation:
        if not self.budget.allows(self.took):
            raise OutOfTimeError
        again = f", {_nth(len(rung.trials) + 1)} time" if rung.trials else ""
        self.progress.begin(f"{rung.name}{again}", self.took or None)
        setting = at(rung.part)
        setting = replace(setting, rounds=self._rounds(), warm=self.warm and setting.caches)
        found = self.trial.observe(setting)
        said = self.judge.assess(found)
        if rung.part == "eager" and self.judge.reference is None and found.outcome == "ok":
            said = Assessment(False, "this is what the others are compared with")
        rung.trials.append((found, said))
        self.took = max(self.took, found.seconds)
        self.progress.end(said.words, said.faulty if said.usable else None)
        return found

    def _rounds(self) -> int:
        if self.judge.fault is not None and self._rate() < 1:
            self.rounds = MOST_ROUNDS
        return self.rounds

    def _told(self, outcome: Outcome, part: str | None = None, why: str = "", between: tuple[str, ...] = ()) -> Climbed:
        tried = [rung for rung in self.rungs if rung.trials]
        judge = self.judge if self.judge.reference is not None else None
        fault = self.judge.fault or next((found for rung in tried for found, said in rung.trials if said.faulty), None)
        # Where it shows without caches, too, it was chance that a warm trial showed it first.
        warm = self.warm and not any(rung.faulty for rung in tried if not at(rung.part).caches)
        return Climbed(outcome, part, tried, judge, fault, between, warm, self._rate() if tried else 1.0, why)


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
