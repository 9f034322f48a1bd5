"""Trials of any program: its exit code, or values that it prints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cutaway.errors import UsageError
from cutaway.explain.trial.observation import Observation, Printed
from cutaway.explain.trial.process import Ended
from cutaway.explain.trial.runner import Runner, text_of
from cutaway.explain.trial.setting import Setting

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b", re.IGNORECASE)


class ProgramTrial(Runner):
    """Trials of a program.

    Args:
        program: it and its arguments.
        check: a regular expression; its first group (or all of it) is compared wherever it matches in what the program
            prints, numbers within tolerance. None: the exit code alone is looked at.
        slow: tell how long the program took.
        options: see `Runner`.
    """

    kind = "program"

    def __init__(self, program: Sequence[str], check: str | None = None, slow: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.program = list(program)
        self.check = None if check is None else pattern_of(check)
        self.slow = slow
        self.is_timed = slow

    def command(self, setting: Setting, folder: Path) -> Sequence[str]:
        return self.program

    def read(self, setting: Setting, folder: Path, ended: Ended) -> Observation:
        if ended.code == 127 and "No such file" in text_of(folder / "log.txt"):
            why = f"{self.program[0]!r} cannot be run: no such program (give `vllm --model …`, or `-- python x.py`)"
            return Observation("unusable", folder, seconds=ended.seconds, why=why)
        took = ended.seconds if self.slow else None
        if ended.code != 0:
            crashed = self.crash(folder, ended)
            if not self._is_check_that_failed(crashed):
                return replace(crashed, took=took)
        text = text_of(folder / "log.txt")
        matches = [] if self.check is None else self.check.finditer(text)
        found = [match[1] if match.re.groups else match[0] for match in matches]
        if self.check is not None and not found and ended.code == 0:
            why = f"it prints nothing that the check {self.check.pattern!r} matches"
            return Observation("unusable", folder, seconds=ended.seconds, why=why)
        return Observation("ok", folder, printed(found, ended.code or 0), None, ended.seconds, took)

    def _is_check_that_failed(self, crashed: Observation) -> bool:
        """Whether the program itself says that something is wrong: it ran to its end, or to an assertion of its own."""
        signature = crashed.signature
        if crashed.outcome != "crash" or signature is None:
            return False
        if signature.kind.startswith("exit code"):
            return True
        file = signature.frames[0].rpartition(":")[0] if signature.frames else ""
        return signature.kind == "AssertionError" and bool(file) and any(one.endswith(file) for one in self._files())

    def _files(self) -> list[str]:
        return [str(Path(one).absolute()) for one in self.program if one.endswith(".py")]

    def skipped(self) -> Mapping[str, str]:
        if any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists():
            return {}
        return {"cuda_graphs": "there is no GPU, so none are captured"}


def pattern_of(check: str) -> re.Pattern[str]:
    """The check as a regular expression.

    Raises:
        UsageError: it is none.
    """
    try:
        return re.compile(check, re.MULTILINE)
    except re.error as error:
        raise UsageError(
            f"--check {check!r} is no regular expression", str(error), r"for example --check 'loss: (\S+)'"
        ) from error


def printed(found: Sequence[str], exit_code: int = 0) -> Printed:
    """What was found, taken apart: the numbers, and the texts around them."""
    values = [float(number) for text in found for number in _NUMBER.findall(text)]
    return Printed(exit_code, values, [_NUMBER.sub("#", text) for text in found])
