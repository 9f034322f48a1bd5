"""How long looking for a fault may take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Time that is left.

    Args:
        minutes: how long it may take; None for as long as it needs.
        spent: seconds that an earlier run of the same search has taken.
        clock: seconds that only grow.
    """

    def __init__(
        self, minutes: float | None = None, spent: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = None if minutes is None else minutes * 60
        self._clock = clock
        self._begun = clock() - spent

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a limit, never negative."""
        return float("inf") if self.limit is None else max(0.0, self.limit - self.spent)

    def allows(self, seconds: float) -> bool:
        """Whether something that takes so long may be begun."""
        return seconds <= self.left
