"""Ways of running something, measured in turns: what slows the machine down for a while slows all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

SHORTEST = 0.004
"""Seconds: a measurement is of so many calls that it takes about this long."""
MOST_CALLS = 10_000
FEWEST_ROUNDS = 3


class Runner(Protocol):
    """Something to be measured."""

    def prepare(self) -> None:
        """Put its inputs back as they were."""
        ...

    def call(self) -> None:
        """Run it once; on an accelerator it may only be queued."""
        ...

    def wait(self) -> None:
        """Return when all that was queued is done."""
        ...


@dataclass
class Series:
    """Measurements of one way.

    Attributes:
        calls: how many calls each is of.
        seconds: of one call, in each round.
    """

    calls: int = 1
    seconds: list[float] = field(default_factory=list[float])


def measure(
    runners: Sequence[Runner],
    *,
    warmup: int,
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Series]:
    """Measure several ways of running something, round by round, each once in a round, another one first each time.

    Args:
        runners: the ways.
        warmup: rounds that are not counted; the last of them tells how many calls a measurement takes.
        repeats: rounds that are counted, at most.
        seconds: after so long no further round is begun, once there are a few.
        clock: tells the time, in seconds.
    """
    found = [Series() for _ in runners]
    begun = clock()
    for _ in range(max(warmup, 1)):
        for runner, series in zip(runners, found, strict=True):
            once = _take(runner, 1, clock)
            series.calls = max(1, min(MOST_CALLS, math.ceil(SHORTEST / once))) if once > 0 else MOST_CALLS
    for round_ in range(repeats):
        if round_ >= FEWEST_ROUNDS and clock() - begun > seconds:
            break
        for place in range(len(runners)):
            turn = (place + round_) % len(runners)
            found[turn].seconds.append(_take(runners[turn], found[turn].calls, clock))
    return found


def _take(runner: Runner, calls: int, clock: Callable[[], float]) -> float:
    """Seconds of one call, of so many."""
    runner.prepare()
    runner.wait()
    begun = clock()
    for _ in range(calls):
        runner.call()
    runner.wait()
    return (clock() - begun) / calls
