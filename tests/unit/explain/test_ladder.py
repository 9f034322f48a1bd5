"""The ladder over written-down behaviour: any part, rungs that cannot be tried, faults that come and go.

The trial here is a table instead of a process; the real ones are in tests/torch and tests/vllm.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.errors import IsolateError
from cutaway.explain.budget import Budget
from cutaway.explain.ladder import CHANCE, Climbed, Ladder, OutOfTimeError
from cutaway.explain.progress import Lines
from cutaway.explain.trial import PARTS, Observation, Printed, Setting, Signature, at, before
from cutaway.explain.trial.setting import off

NAMES = list(PARTS)
RIGHT, WRONG = Printed(0, [1.0]), Printed(0, [2.0])


def right(seconds: float = 1.0, took: float | None = None) -> Observation:
    return Observation("ok", Path("x"), RIGHT, seconds=seconds, took=took)


def wrong(seconds: float = 1.0) -> Observation:
    return Observation("ok", Path("x"), WRONG, seconds=seconds)


def crashed(kind: str, frame: str = "a/b.py:1 f") -> Observation:
    return Observation("crash", Path("x"), None, Signature(kind, "m", [frame]), 1.0)


@dataclass
class Table:
    """A trial that answers what a function of the setting says, and remembers what it was asked."""

    answer: Callable[[Setting], Observation]
    asked: list[Setting] = field(default_factory=list)
    kind: str = "program"

    def observe(self, setting: Setting) -> Observation:
        self.asked.append(setting)
        return self.answer(setting)


def is_on(setting: Setting, part: str) -> bool:
    return part not in off(setting)


def climb(trial: Table, **options: object) -> Climbed:
    return Ladder(trial, Budget(), Lines(None), **options).climb()  # type: ignore[arg-type]


@given(part=st.sampled_from(NAMES), skipped=st.sets(st.sampled_from(NAMES[:-1])))
def test_the_part_is_found_whichever_it_is(part: str, skipped: set[str]) -> None:
    trial = Table(lambda setting: wrong() if is_on(setting, part) else right())
    found = climb(trial, skipped=dict.fromkeys(skipped, "none here"))
    # A part whose rung is skipped is turned off by the next that is not.
    expected = next(name for name in NAMES[NAMES.index(part) :] if name not in skipped)
    assert (found.outcome, found.part) == ("found", expected)
    assert len(trial.asked) <= 6 + 1


def test_seven_rungs_take_five_trials_and_one_to_confirm() -> None:
    trial = Table(lambda setting: wrong() if setting.passes else right())
    climb(trial)
    names = [(off(setting) or ("on",))[-1] for setting in trial.asked]
    assert names == ["on", "eager", "passes", "caches", "passes"]


@given(part=st.sampled_from(NAMES), broken=st.sets(st.sampled_from(NAMES[:-1])))
def test_rungs_that_crash_otherwise_are_not_blamed(part: str, broken: set[str]) -> None:
    def answer(setting: Setting) -> Observation:
        parts = off(setting)
        if parts and parts[-1] in broken:
            return crashed("ImportError")
        return wrong() if is_on(setting, part) else right()

    found = climb(Table(answer))
    assert part in (found.between if found.outcome == "between" else (found.part,))
    if found.outcome == "between":
        assert set(found.between[:-1]) <= broken


def test_a_fault_that_is_in_eager_is_the_models_own() -> None:
    assert climb(Table(lambda _: crashed("ValueError"))).outcome == "own"
    expected = Observation("ok", Path("x"), RIGHT)
    assert climb(Table(lambda _: wrong()), expected=expected).outcome == "own"


def test_values_that_are_not_finite_in_eager_are_the_models_own() -> None:
    nan = Observation("ok", Path("x"), Printed(0, [float("nan")]), seconds=1.0)
    found = climb(Table(lambda _: nan))
    assert found.outcome == "own"
    assert [rung.faulty for rung in found.rungs] == [1, 1]


def test_a_crash_of_eager_is_the_models_own_whatever_is_said_when_it_is_compiled() -> None:
    trial = Table(lambda setting: crashed("ValueError") if setting.eager else crashed("TypeError"))
    found = climb(trial)
    assert found.outcome == "own"
    assert "ValueError" in found.why
    assert "TypeError" in found.why


def test_eager_that_does_not_run_is_no_reference() -> None:
    trial = Table(lambda setting: crashed("ValueError") if setting.eager else right())
    with pytest.raises(IsolateError, match="eager does not run, and compiled it does"):
        climb(trial)


def test_a_crash_is_followed_by_its_type_and_innermost_place() -> None:
    def answer(setting: Setting) -> Observation:
        if setting.passes:
            return crashed("RuntimeError", f"a/b.py:{1 + setting.caches} f")  # lines of generated files move
        return crashed("RuntimeError", "c/d.py:9 g") if setting.inductor else right()

    found = climb(Table(answer))
    assert found.outcome == "between"  # with passes off it crashes elsewhere, which is not this fault
    assert found.between == ("passes", "inductor")


def test_no_fault_is_said_after_several_trials_one_of_them_warm() -> None:
    trial = Table(lambda _: right())
    found = climb(trial)
    assert found.outcome == "none"
    assert [setting.warm for setting in trial.asked if setting == at(None) or not off(setting)] == [False, True, False]


def test_a_fault_of_warm_starts_alone_is_found_in_the_caches() -> None:
    trial = Table(lambda setting: wrong() if setting.warm and setting.caches else right())
    found = climb(trial)
    assert (found.part, found.warm) == ("caches", True)


def test_a_fault_that_a_warm_start_shows_first_need_not_be_of_warm_starts_alone() -> None:
    trial = Table(lambda setting: wrong() if setting.passes and len(trial.asked) > 2 else right())
    found = climb(trial)
    assert (found.part, found.warm) == ("passes", False)


@pytest.mark.parametrize("part", NAMES[:-1])
@pytest.mark.parametrize("seed", range(5))
def test_a_fault_that_comes_and_goes_is_not_blamed_on_another_part(part: str, seed: int) -> None:
    chance = random.Random(seed)

    def answer(setting: Setting) -> Observation:
        rate = 1 - 0.5**setting.rounds if is_on(setting, part) else 0.0
        return wrong() if chance.random() < rate else right()

    found = climb(Table(answer), repeats=5)
    assert (found.outcome, found.part) == ("found", part)


def test_how_sure_it_is_follows_from_the_trials() -> None:
    trial = Table(lambda setting: wrong() if setting.passes else right())
    found = climb(trial)
    seen, gone = sum(rung.faulty for rung in found.rungs), 2
    assert found.chance == pytest.approx((1 - (seen + 1) / (seen + 2)) ** gone)
    assert found.chance < CHANCE + 0.02


def test_slowness_is_placed_where_the_time_goes() -> None:
    seconds = {"caches": 9.0, "passes": 3.0}
    answer = Table(
        lambda setting: right(took=1.0 + sum(time for part, time in seconds.items() if is_on(setting, part)))
    )
    assert climb(answer, slow=True).part == "caches"
    level = Table(lambda setting: right(took=1.1 if setting.compile else 1.0))
    assert climb(level, slow=True).outcome == "none"


def test_slowness_takes_both_ends_and_the_rungs_beside_its_place() -> None:
    trial = Table(lambda setting: right(seconds=60.0, took=9.0 if setting.passes else 1.0))
    assert climb(trial, slow=True).part == "passes"
    names = [(off(setting) or ("on",))[-1] for setting in trial.asked]
    assert names == ["on", "eager", "passes", "caches"]
    assert not any(setting.switches.compare or setting.record for setting in trial.asked)


def test_what_is_known_when_time_is_up() -> None:
    now = [0.0]
    trial = Table(lambda setting: wrong(60) if setting.passes else right(60))

    def observe(setting: Setting) -> Observation:
        now[0] += 60
        return trial.answer(setting)

    ladder = Ladder(Table(observe), Budget(3.5, clock=lambda: now[0]), Lines(None))
    with pytest.raises(OutOfTimeError):
        ladder.climb()
    known = ladder.known()
    assert known.outcome == "between"
    assert "passes" in known.between
    assert now[0] <= 3.5 * 60


def test_a_subject_that_cannot_be_tried_is_said() -> None:
    unusable = Observation("unusable", Path("x"), why="the model does not load: no file")
    with pytest.raises(IsolateError, match=r"does not load: no file"):
        climb(Table(lambda _: unusable))


def test_the_rung_before_a_part_still_has_it_on() -> None:
    for part in NAMES:
        assert is_on(before(part), part)
        assert off(at(part))[-1] == part
        if part != "eager":  # what goes in eager alone is looked for where there are pieces
            assert part in set(off(at(part))) - set(off(before(part)))
