"""A search of what a command line names: vLLM, or any program."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from cutaway.errors import IsolateError
from cutaway.explain.budget import Budget
from cutaway.explain.kept import TRIALS
from cutaway.explain.progress import Progress, progress_on
from cutaway.explain.search import Options, search
from cutaway.explain.state import State
from cutaway.explain.trial import Slow
from cutaway.explain.trial.observation import Printed
from cutaway.explain.trial.program import ProgramTrial, pattern_of, printed
from cutaway.explain.trial.runner import Runner
from cutaway.explain.trial.vllm import VllmTrial
from cutaway.explain.verdict import Verdict

VLLM = "vllm"


@dataclass(frozen=True)
class Asked:
    """What is searched, and how; all of it is written down for ``--resume``.

    Attributes:
        command: arguments of vLLM, or a program and its arguments.
        is_vllm: which of both.
        prompts, max_tokens: see `VllmTrial`.
        check, expect: see `ProgramTrial`; what the check is to find.
        tolerance, slow, repeats: see `Options`.
        timeout: seconds after which a trial is stopped.
        inside: whether to look inside of the part.
    """

    command: list[str]
    is_vllm: bool = False
    prompts: Sequence[str] = ()
    max_tokens: int = 8
    check: str | None = None
    expect: str | None = None
    tolerance: float | None = None
    slow: Slow | None = None
    repeats: int = 3
    timeout: float = 900.0
    inside: bool = True

    @property
    def words(self) -> str:
        """As a command line."""
        return shlex.join([VLLM, *self.command] if self.is_vllm else self.command)


def run_command(
    asked: Asked, folder: Path, resume: bool, minutes: float | None, resume_with: str, stream: TextIO
) -> Verdict:
    """Search.

    Args:
        asked: what; not looked at when resuming.
        folder: of the search.
        resume: go on with the one in the folder.
        minutes: the budget.
        resume_with: the command line that goes on.
        stream: for the progress.

    Raises:
        IsolateError: it cannot be tried.
        UsageError: the check is no regular expression.
    """
    state = State(folder)
    if resume:
        asked = _resumed(state)
    expected = _expected(asked)
    budget = Budget(minutes)
    progress = progress_on(stream, budget)
    runner = _runner(asked, folder, progress)
    if not resume:
        state.begin({"kind": "command", **asdict(asked)})
    options = Options(minutes, asked.tolerance, asked.slow, asked.repeats, asked.inside)
    with progress:
        return search(
            runner, state, options, progress, budget,
            subject=asked.words, compilers=_compilers(asked), expected=expected, resume=resume_with,
        )  # fmt: skip


def _resumed(state: State) -> Asked:
    found: dict[str, Any] = state.subject()
    if found.pop("kind", "") != "command":
        raise IsolateError(
            f"{str(state.folder)!r} holds the search of a model in Python", "", "go on with isolate(..., resume=True)"
        )
    found.pop("version", None)
    return Asked(**found)


def _runner(asked: Asked, folder: Path, progress: Progress) -> Runner:
    common: dict[str, Any] = {"folder": folder / TRIALS, "limit": asked.timeout, "tell": progress.say}
    if asked.is_vllm:
        return VllmTrial(asked.command, asked.prompts, asked.max_tokens, asked.slow, **common)
    return ProgramTrial(asked.command, asked.check, asked.slow is not None, **common)


def _expected(asked: Asked) -> Printed | None:
    """What is right, where the user says so: the exit code 0, and what the check is to find."""
    if asked.expect is None or asked.check is None:
        return None
    match = pattern_of(asked.check).search(asked.expect)
    text = asked.expect if match is None else match[1] if match.re.groups else match[0]
    return printed([text])


def _compilers(asked: Asked) -> tuple[str, ...]:
    """By what the program may be compiled: by what it names."""
    if asked.is_vllm:
        return ("vllm",)
    text = asked.words
    for one in asked.command:
        with suppress(OSError, UnicodeDecodeError):
            if one.endswith(".py"):
                text += Path(one).read_text()
    found = tuple(name for name in ("vllm", "cutaway") if name in text)
    return found or ("torch",)
