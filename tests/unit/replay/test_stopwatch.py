"""Measuring in turns, with a clock that does what it is told; and what is made of the numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.replay.stopwatch import FEWEST_ROUNDS, MOST_CALLS, SHORTEST, measure
from cutaway.replay.timing import Spread


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A way whose calls take so long, and that notes what is done with it."""

    def __init__(self, name: str, clock: Clock, seconds: float, notes: list[tuple[str, str]]) -> None:
        self.name, self.clock, self.seconds, self.notes = name, clock, seconds, notes

    def prepare(self) -> None:
        self.notes.append((self.name, "prepare"))
        self.clock.now += 1000.0  # that counts for nothing

    def call(self) -> None:
        self.notes.append((self.name, "call"))
        self.clock.now += self.seconds

    def wait(self) -> None:
        self.notes.append((self.name, "wait"))


def test_each_is_measured_in_each_round_another_one_first() -> None:
    clock, notes = Clock(), list[tuple[str, str]]()
    ways = [Fake(name, clock, 2 * SHORTEST, notes) for name in "abc"]
    found = measure(ways, warmup=1, repeats=4, seconds=1e9, clock=clock)
    order = "".join(name for name, what in notes if what == "call")
    assert order == "abc" + "abc" + "bca" + "cab" + "abc"
    assert [series.calls for series in found] == [1, 1, 1]
    assert all(series.seconds == pytest.approx([2 * SHORTEST] * 4) for series in found)


def test_what_is_queued_is_waited_for_within_the_measurement() -> None:
    clock, notes = Clock(), list[tuple[str, str]]()
    measure([Fake("a", clock, 2 * SHORTEST, notes)], warmup=1, repeats=1, seconds=1e9, clock=clock)
    assert [what for _, what in notes] == ["prepare", "wait", "call", "wait"] * 2


def test_short_calls_are_measured_many_at_a_time() -> None:
    clock = Clock()
    notes = list[tuple[str, str]]()
    long, short, none = (Fake("x", clock, seconds, notes) for seconds in (SHORTEST * 5, SHORTEST / 8, 0.0))
    found = measure([long, short, none], warmup=2, repeats=1, seconds=1e9, clock=clock)
    assert [series.calls for series in found] == [1, pytest.approx(8, abs=1), MOST_CALLS]
    assert found[1].seconds == pytest.approx([SHORTEST / 8])


def test_no_further_round_is_begun_when_the_time_is_up() -> None:
    clock = Clock()
    (found,) = measure([Fake("a", clock, 5.0, [])], warmup=1, repeats=50, seconds=1.0, clock=clock)
    assert len(found.seconds) == FEWEST_ROUNDS


@given(st.lists(st.floats(1e-9, 1e3), min_size=1))
def test_a_spread_is_in_order_and_within_its_values(values: list[float]) -> None:
    spread = Spread.of(values)
    assert min(values) == spread.least <= spread.low <= spread.median <= spread.high <= max(values)
    assert spread.count == len(values)
    assert spread.width >= 0


def test_a_spread_of_known_values() -> None:
    assert Spread.of([5, 1, 2, 4, 3]) == Spread(median=3, low=2, high=4, least=1, count=5)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0, 2.0, 1)
