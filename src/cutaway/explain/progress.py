"""What a search for a fault tells while it goes on."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of every step; the display on a terminal is one of these, plain lines another."""

    def begin(self, step: str, about: float | None = None) -> None:
        """A step begins, such as a trial.

        Args:
            step: in words: "piece_02 as its eager graph".
            about: seconds that it will take, where that is known.
        """
        ...

    def end(self, result: str, is_fault: bool | None = None) -> None:
        """The step is over. `is_fault`: whether the fault was there, None where that was not the question."""
        ...

    def learn(self, finding: str) -> None:
        """Something is known now that stays true when the search is interrupted: one sentence."""
        ...
