"""From results that differ back to the first node that computes something else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.replay.job import Comparison, Verdict
from cutaway.replay.locate import Locator, Parting, descendants
from cutaway.replay.raw import Line, RawGraph


def graph(**reads: Sequence[str]) -> RawGraph:
    """Nodes that read others, in order."""
    lines = {name: Line(f"{name} = f({', '.join(some)})", tuple(some), 1) for name, some in reads.items()}
    return RawGraph("", "x.py", {}, ("x",), frozenset(), lines, (list(lines)[-1],))


def verdicts(**each: Verdict) -> list[tuple[str, str, Comparison]]:
    """Each node compared with the one of the same name."""
    return [(name, name, Comparison(verdict=verdict)) for name, verdict in each.items()]


def found(locator: Locator, *starts: str) -> Parting | None:
    return locator.find(starts, lambda one: one.fine)


CHAIN = graph(a="x", b=["a"], c=["b"], d=["c"])


def test_the_first_that_differs() -> None:
    parting = found(Locator(CHAIN, CHAIN, verdicts(a="same", b="apart", c="apart", d="apart")), "d")
    assert parting is not None
    assert parting.pair == ("b", "b")
    assert parting.before == parting.after == ()


def test_what_was_not_compared_stands_between() -> None:
    parting = found(Locator(CHAIN, CHAIN, verdicts(a="same", d="apart")), "d")
    assert parting is not None
    assert (parting.pair, parting.before, parting.after) == (("d", "d"), ("b", "c"), ("b", "c"))


def test_a_difference_that_heals_is_not_the_fault() -> None:
    """A pass pads a product and cuts it off again; the fault comes after that."""
    padded = verdicts(a="kind", b="kind", c="same", d="apart")
    parting = found(Locator(CHAIN, CHAIN, padded), "d")
    assert parting is not None
    assert parting.pair == ("d", "d")


def test_only_what_leads_to_the_result_counts() -> None:
    raw = graph(a="x", other="x", b=["a"])
    parting = found(Locator(raw, raw, verdicts(a="same", other="apart", b="apart")), "b")
    assert parting is not None
    assert parting.pair == ("b", "b")


def test_results_without_counterparts() -> None:
    parting = found(Locator(CHAIN, CHAIN, verdicts(b="same")), "d")
    assert parting == Parting(None, None, after=("c", "d"))
    assert found(Locator(CHAIN, CHAIN, []), "nothing") is None


@pytest.mark.parametrize("verdict", ["skipped", "unwritten"])
def test_what_says_nothing_is_passed_through(verdict: Verdict) -> None:
    parting = found(Locator(CHAIN, CHAIN, verdicts(a="apart", b=verdict, c="apart", d="apart")), "d")
    assert parting is not None
    assert parting.pair == ("a", "a")


def test_what_is_random_is_passed_through() -> None:
    locator = Locator(CHAIN, CHAIN, verdicts(a="apart", b="apart", c="same", d="apart"), ignored={"a"})
    parting = found(locator, "b")
    assert parting is not None
    assert (parting.pair, parting.after) == (("b", "b"), ("a",))


def test_a_node_that_is_right_but_stands_for_another() -> None:
    """An addition was dropped: what reads its first argument now should have read the sum."""
    before = graph(a="x", b="x", sum=["a", "b"], c=["sum"])
    after = graph(a="x", b="x", c=["a"])
    compared = [*verdicts(a="same", b="same", c="apart"), ("sum", "a", Comparison(verdict="apart"))]
    parting = found(Locator(before, after, compared), "c")
    assert parting is not None
    assert parting.pair == ("sum", "a")


def test_writes_are_ways_too() -> None:
    """What fills a buffer is not among what its reader reads."""
    raw = graph(a="x", buffer=[], fill=["buffer", "a"], c=["buffer"])
    compared = verdicts(a="same", buffer="unwritten", fill="apart", c="apart")
    writes = {"c": ["fill"]}
    parting = found(Locator(raw, raw, compared, writes=(writes, writes)), "c")
    assert parting is not None
    assert parting.pair == ("fill", "fill")
    alone = found(Locator(raw, raw, compared), "c")
    assert alone is not None
    assert alone.pair == ("c", "c")


def test_descendants() -> None:
    raw = graph(a="x", buffer=[], fill=["buffer", "a"], c=["buffer"], d="x")
    assert descendants(raw, {"a"}, {}) == {"a", "fill"}
    assert descendants(raw, {"a"}, {"c": ["fill"]}) == {"a", "fill", "c"}


@given(data=st.data(), count=st.integers(2, 20))
def test_one_faulty_node_is_found_in_any_graph(data: st.DataObject, count: int) -> None:
    """Every node that the fault reaches differs; however many of the others were compared, it is the one."""
    names = [f"n{number}" for number in range(count)]
    reads = {
        name: data.draw(st.lists(st.sampled_from(names[:number]), unique=True, max_size=3)) if number else []
        for number, name in enumerate(names)
    }
    raw = graph(**reads)
    fault = data.draw(st.sampled_from(names))
    wrong = descendants(raw, {fault}, {})
    end = data.draw(st.sampled_from(sorted(wrong)))
    compared = {name for name in names if name == fault or data.draw(st.booleans())}
    known = verdicts(**{name: "apart" if name in wrong else "same" for name in compared})
    parting = found(Locator(raw, raw, known), end)
    assert parting is not None
    assert parting.pair == (fault, fault)
    assert not compared & set(parting.after)
