"""`cutaway.explain.isolate`: a search for the fault of a model in Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutaway.errors import UsageError
from cutaway.explain.budget import Budget
from cutaway.explain.kept import TRIALS
from cutaway.explain.progress import Lines, Progress, progress_on
from cutaway.explain.search import Options, search
from cutaway.explain.state import State
from cutaway.explain.trial import Slow, Tensors
from cutaway.explain.trial.environment import IN_TRIAL
from cutaway.explain.verdict import Verdict

if TYPE_CHECKING:
    import torch

FOLDER = "cutaway-isolate"


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
    _refuse_in_a_trial()
    state = State(Path(folder).absolute())
    subject = _subject(state, model, _calls(inputs), how, dynamic_arg_dims, resume)
    budget = Budget(minutes)
    progress: Progress = Lines(None) if quiet else progress_on(sys.stderr, budget)
    runner = _trials().ModelTrial(subject.path, slow, folder=state.folder / TRIALS, limit=timeout, tell=progress.say)
    with progress:
        return search(
            runner, state, Options(minutes, tolerance, slow, repeats), progress, budget, subject=subject.name,
            compilers=(subject.compiler,), expected=_expected(expect, state.folder), resume="isolate(..., resume=True)",
        )  # fmt: skip


@dataclass(frozen=True)
class _Subject:
    """The model as it was written down: where, what it is called, and what compiles it."""

    path: Path
    name: str
    compiler: str


def _refuse_in_a_trial() -> None:
    if os.environ.get(IN_TRIAL):
        raise UsageError(
            "isolate was called while a trial imports the program",
            "a trial imports the main module to find the model's classes",
            'call isolate under `if __name__ == "__main__":`',
        )


def _trials() -> Any:
    return import_module("cutaway.explain.trial.model")  # imports torch, which the command line does without


def _subject(state: State, model: Any, calls: list[tuple[Any, ...]], how: Any, dims: Any, resume: bool) -> _Subject:
    """The model written down for the trials; when a search goes on, it is there already."""
    trials = _trials()
    bare, found = trials.how_of(model, how, dims)
    name, path = type(bare).__name__, state.folder / trials.SUBJECT
    if resume:
        state.subject()
    else:
        state.begin({"kind": "model", "model": name})
        trials.write_subject(path, bare, calls, found)
    return _Subject(path, name, "cutaway" if found.kind == "cutaway" else "torch")


def _calls(inputs: Any) -> list[tuple[Any, ...]]:
    if isinstance(inputs, list):
        return [tuple(call) if isinstance(call, (tuple, list)) else (call,) for call in inputs]
    return [inputs if isinstance(inputs, tuple) else (inputs,)]


def _expected(expect: Any, folder: Path) -> Tensors | None:
    if expect is None:
        return None
    trials: Any = import_module("cutaway.explain.trial.tensors")
    return trials.written([expect] if not isinstance(expect, (list, tuple)) else list(expect), folder)
