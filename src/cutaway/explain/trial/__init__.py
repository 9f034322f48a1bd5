"""A trial: the program run once, in a fresh process, with parts of the compiler switched off.

    trial.observe(setting) -> Observation        runs it
    judge.faulty(observation) -> bool            whether the fault is there

`vllm.py`, `program.py` and `model.py` make trials of the three subjects; all of them run through `process.py`.
"""

from __future__ import annotations

from typing import Protocol

from cutaway.explain.trial.observation import (
    Completion,
    Completions,
    Observation,
    Outcome,
    Outputs,
    Printed,
    Signature,
    Tensors,
)
from cutaway.explain.trial.setting import EVERYTHING_ON, PARTS, Setting, Slow, at, before

__all__ = [
    "EVERYTHING_ON",
    "PARTS",
    "Completion",
    "Completions",
    "Judge",
    "Observation",
    "Outcome",
    "Outputs",
    "Printed",
    "Setting",
    "Signature",
    "Slow",
    "Tensors",
    "Trial",
    "at",
    "before",
]


class Trial(Protocol):
    """Runs the subject."""

    @property
    def kind(self) -> str:
        """``vllm``, ``program`` or ``model``."""
        ...

    def observe(self, setting: Setting) -> Observation:
        """Run it once, in a fresh process; caches of the user are never written to.

        A setting that was observed before is run again: whether a fault is flaky is found by that.
        """
        ...


class Judge(Protocol):
    """Says whether a trial shows the fault, by the reference that was found on the ladder."""

    def faulty(self, observation: Observation) -> bool:
        """Whether the fault is there. Another crash than the fault's own, or a trial that cannot be used, is not it."""
        ...

    def why(self, observation: Observation) -> str:
        """In words: what makes it faulty, or that it is as it should be."""
        ...
