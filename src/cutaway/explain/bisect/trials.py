"""The trials of a search inside of a part: what is asked of them, and whether the fault goes without what was found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cutaway.explain.bisect.finding import Finding
from cutaway.explain.bisect.seen import Seen
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Progress
from cutaway.explain.switches import Switches
from cutaway.explain.trial import Judge, Observation, Setting, Trial, before

REPLAY = 30.0
"""Seconds that a search through the stages of a piece must at least have."""


@dataclass
class Trials:
    """Runs trials, and judges them.

    Attributes:
        trial, judge, part, budget, progress, repeats: as in `inside`.
        took: seconds of the longest trial so far.
        folder: where a reproducer goes: that of the first trial.
    """

    trial: Trial
    judge: Judge
    part: str
    budget: Budget
    progress: Progress
    repeats: int = 1
    took: float = field(default=0.0, init=False)
    folder: Path = field(default=Path(), init=False)

    def observe(self, step: str, switches: Switches, record: bool = False) -> Observation:
        """Run one trial.

        Args:
            step: what it is for, in words.
            switches: what is off and what is watched in it.
            record: leave a dump.
        """
        setting: Setting = replace(before(self.part), switches=switches, record=record)
        self.progress.begin(step, self.took or None)
        observation = self.trial.observe(setting)
        self.took = max(self.took, observation.seconds)
        is_fault = self.judge.faulty(observation) or (False if observation.outcome == "ok" else None)
        self.progress.end(observation.why or self.judge.why(observation), is_fault)
        return observation

    def confirm(self, finding: Finding, switches: Switches, how: str = "without it") -> Finding:
        """Without what was found the fault must go.

        Args:
            finding: what was found.
            switches: turn it off.
            how: in words, what they do.
        """
        return self.without(finding, switches, how)[0]

    def without(
        self, finding: Finding, switches: Switches, how: str = "without it"
    ) -> tuple[Finding, Observation | None]:
        """As `confirm`; and the last trial, if there was one."""
        observation: Observation | None = None
        if not self.budget.allows(self.took):
            return finding.without(f"whether the fault goes {how}: there was no time left"), None
        for count in range(self.repeats):
            if count and not self.budget.allows(self.took):
                told = f"whether the fault goes {how}: there was no time left to be sure"
                return finding.without(told), observation
            observation = self.observe(how, switches)
            if observation.outcome == "unusable":
                return finding.without(f"whether the fault goes {how}: {observation.why}"), observation
            if self.judge.faulty(observation):
                return _still_there(finding, switches, how, Seen.of(observation.folder)), observation
            if observation.outcome != "ok":
                told = f"whether the fault goes {how}: that ended otherwise, {self.judge.why(observation)}"
                return finding.without(told), observation
        return replace(finding, confidence="confirmed").with_evidence(f"{how}, the fault is gone"), observation


def _still_there(finding: Finding, switches: Switches, how: str, seen: Seen) -> Finding:
    """Switched off, and the fault is there: it is not what was switched off, if it was."""
    ran = {event["name"] for event in seen.all("pass") if not event["off"]}
    if ran.intersection(switches.passes_off):
        return finding.with_evidence(
            f"the pass {finding.pass_name} cannot be switched off: nothing compiles without it"
        )
    if finding.kind == "slow":
        finding = replace(finding, kind="unknown", piece=None, range=None)
    if finding.kind in ("crash", "unknown"):
        finding = replace(finding, pass_name=None, kernel=None, confidence="unknown")
    return finding.with_evidence(f"{how}, the fault is still there")
