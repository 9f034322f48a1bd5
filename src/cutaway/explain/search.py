"""The whole search: ladder, then inside of the part, then the verdict.

subject ──► trials ──► ladder ──► part ──► inside (bisect/) ──► verdict, report, reproducer
              │
              └──► state: the journal of all trials, for --resume
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cutaway.errors import CutawayError, IsolateError
from cutaway.explain.budget import Budget
from cutaway.explain.kept import written
from cutaway.explain.ladder import Ladder, OutOfTimeError
from cutaway.explain.progress import Progress
from cutaway.explain.rung import Climbed
from cutaway.explain.state import Remembering, State
from cutaway.explain.trial import Observation, Outputs, Setting, Slow
from cutaway.explain.trial.runner import Runner
from cutaway.explain.verdict import Verdict

if TYPE_CHECKING:
    from cutaway.explain.bisect import Finding


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes:
        minutes: the budget; None for as long as it needs.
        tolerance: for outputs; None for what suits the dtype.
        slow: the fault is that it is slow: to start, or to run.
        repeats: how often everything on is tried, before it is said that there is no fault.
        inside: whether to look inside of the part.
    """

    minutes: float | None = None
    tolerance: float | None = None
    slow: Slow | None = None
    repeats: int = 3
    inside: bool = True


class _AsSeen:
    """Trials like those that showed the fault: as many rounds, and as warm, where caches are on at all."""

    def __init__(self, trial: Remembering, rounds: int, warm: bool) -> None:
        self.trial = trial
        self.rounds = rounds
        self.warm = warm
        self.kind = trial.kind

    def observe(self, setting: Setting) -> Observation:
        return self.trial.observe(replace(setting, warm=self.warm and setting.caches, rounds=self.rounds))


def search(
    runner: Runner,
    state: State,
    options: Options,
    progress: Progress,
    budget: Budget,
    *,
    subject: str,
    compilers: tuple[str, ...],
    expected: Outputs | None = None,
    resume: str = "",
) -> Verdict:
    """Search for the fault, and tell what is known, whatever stops it.

    Args:
        runner: runs the subject.
        state: where it is written down.
        options, progress, budget: how, and whom to tell.
        subject: what it is, in words.
        compilers: that it may be compiled by, for the workaround.
        expected: what is right, where the user says so.
        resume: the command that goes on, should it be stopped.

    Raises:
        IsolateError: the subject cannot be tried at all; nothing is known then.
    """
    trial = Remembering(runner, state)
    known = None if expected is None else Observation("ok", state.folder, expected)
    skipped = dict(runner.skipped())
    ladder = Ladder(
        trial, budget, progress,
        expected=known, tolerance=options.tolerance, slow=options.slow is not None, repeats=options.repeats,
        skipped=skipped,
    )  # fmt: skip
    finding, problem, stopped = None, "", ""
    climbed: Climbed | None = None
    try:
        climbed = ladder.climb()
        if climbed.outcome == "found" and options.inside:
            finding, problem = _inside(trial, climbed, ladder, budget, progress, options.slow)
            if finding is None or finding.confidence != "confirmed":
                climbed = ladder.confirm()
    except KeyboardInterrupt:
        stopped = "interrupted"
    except OutOfTimeError:
        stopped = "out of time"
    except IsolateError as error:
        if not ladder.rungs[0].faulty:
            raise
        stopped = str(error).rstrip(".")
    finally:
        runner.close()
    if stopped and climbed is not None and finding is None:
        problem = "; ".join(progress.known[1:]) or "nothing is known yet"
    verdict = Verdict(
        subject, climbed if climbed is not None and not stopped else _after(climbed, ladder), finding, stopped, problem,
        compilers, skipped, state.folder, seconds=budget.spent, trials=len(state.entries()), resume=resume,
    )  # fmt: skip
    return written(verdict, state)


def _after(climbed: Climbed | None, ladder: Ladder) -> Climbed:
    """What is known when it was stopped: of the ladder, or further inside."""
    return climbed if climbed is not None else ladder.known()


def _inside(
    trial: Remembering, climbed: Climbed, ladder: Ladder, budget: Budget, progress: Progress, slow: Slow | None
) -> tuple[Finding | None, str]:
    """What is at fault inside of the part, or why that is not known."""
    assert climbed.part is not None, "the part was found"
    assert climbed.judge is not None, "there is a reference"
    if not budget.allows(ladder.took):
        raise OutOfTimeError
    looked_at = _AsSeen(trial, ladder.rounds, climbed.warm)
    bisect: Any = import_module("cutaway.explain.bisect")  # needs torch, which naming the part does not
    try:
        repeats = ladder.needed if climbed.rate < 1 else 1
        return bisect.inside(looked_at, climbed.judge, climbed.part, budget, progress, repeats, slow), ""
    except CutawayError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001  (what the ladder found must be told whatever fails here)
        return None, f"looking inside failed: {type(error).__name__}: {error}"
