"""What a trial gave: plain data that is written down, so that an interrupted run can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec import Struct

Outcome = Literal["ok", "crash", "timeout", "unusable"]
"""It ended well; it crashed; it took too long; it could not be tried at all (the model does not load, no vLLM)."""


class Completion(Struct, frozen=True):
    """What an LLM answered to one prompt.

    Attributes:
        prompt: its text, or how it was made.
        batch: how many prompts ran together.
        tokens: the chosen tokens.
        logprobs: log probability of each, None where it is no number.
        top: for each position, the most probable tokens and their log probabilities.
    """

    prompt: str
    batch: int
    tokens: list[int]
    logprobs: list[float | None]
    top: list[dict[int, float | None]] = []


class Completions(Struct, frozen=True, tag="completions"):
    """Outputs of an LLM. `dtype` is what it computes in."""

    completions: list[Completion]
    dtype: str = ""


class Printed(Struct, frozen=True, tag="printed"):
    """Outputs of a program: its exit code, and the values that the check looks for in what it printed."""

    exit_code: int
    values: list[float] = []
    texts: list[str] = []


class Tensors(Struct, frozen=True, tag="tensors"):
    """Outputs of a model: a file of ``torch.save`` with the flat list of them, and what can be said without it.

    Attributes:
        path: of the file.
        types: dtype and shape of each, such as ``f32[4, 8]``.
        not_finite: how many elements of each are NaN or infinite.
        calls: for each call of the model, how many of the tensors are its outputs.
    """

    path: str
    types: list[str]
    not_finite: list[int]
    calls: list[int] = []


Outputs = Completions | Printed | Tensors


class Signature(Struct, frozen=True):
    """By what a crash is known again.

    Attributes:
        kind: the exception's type, ``SIGSEGV``, or ``exit code 3``.
        message: the exception's own words, first line.
        frames: ``file:line function`` of the innermost frames, innermost first; files by their last two parts.
    """

    kind: str
    message: str = ""
    frames: list[str] = []

    @property
    def words(self) -> str:
        """In a line: type, message, and the innermost frames."""
        told = f"{self.kind}: {self.message}".rstrip(": ")
        return f"{told}, at {' < '.join(self.frames[:3])}" if self.frames else told

    def is_same_as(self, other: Signature) -> bool:
        """Whether both are the same crash: the type, and the innermost frame by file and function."""
        return self.kind == other.kind and _places(self) == _places(other)


def _places(signature: Signature) -> list[tuple[str, str]]:
    """File and function of the innermost frame. Lines move between generated files, and so do the frames above."""
    return [(frame.rpartition(":")[0], frame.rpartition(" ")[2]) for frame in signature.frames[:1]]


@dataclass(frozen=True)
class Observation:
    """What a trial gave.

    Attributes:
        outcome: how it ended.
        folder: the trial's own; it holds ``log.txt`` (all that was printed) and what the hands in the process wrote.
        outputs: what was computed; None when it did not get so far.
        signature: of the crash.
        seconds: how long the trial took, start to end.
        took: how long the part took that is to be fast, in seconds; None when it was not measured.
        dump: the recording, when one was asked for.
        why: of "unusable", one sentence; of a crash, its signature in words.
    """

    outcome: Outcome
    folder: Path
    outputs: Outputs | None = None
    signature: Signature | None = None
    seconds: float = 0.0
    took: float | None = None
    dump: Path | None = None
    why: str = ""

    @property
    def log(self) -> Path:
        """All that the trial printed."""
        return self.folder / "log.txt"
