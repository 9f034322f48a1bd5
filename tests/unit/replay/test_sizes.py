"""With which sizes a graph is run."""

from __future__ import annotations

import pytest

from cutaway.errors import UsageError
from cutaway.record.limits import parse_bytes
from cutaway.replay.raw import RawGraph
from cutaway.replay.sizes import agree, check_sizes, choose_sizes, parse_sizes
from cutaway.replay.subject import Subject


def subject(**sizes: int) -> Subject:
    return Subject("a.py", RawGraph("", "a.py", sizes, (), frozenset(), {}, ()))


def test_few_rows_unless_somebody_wants_more() -> None:
    assert choose_sizes(subject(s72=4096), {}) == {"s72": 16}
    assert choose_sizes(subject(s72=5), {}) == {"s72": 5}
    assert choose_sizes(subject(s72=4096), {"s72": 100}) == {"s72": 100}
    assert choose_sizes(subject(), {}) == {}


def test_symbols_that_were_of_one_size_get_one() -> None:
    assert choose_sizes(subject(s72=4096, s80=4096), {"s80": 7}) == {"s72": 7, "s80": 7}


def test_sizes_that_differed_stay_as_they_were() -> None:
    """One may be twice the other; nobody knows."""
    assert choose_sizes(subject(s0=40, s1=80), {}) == {"s0": 40, "s1": 80}


def test_two_graphs_agree() -> None:
    assert agree({"s72": 16}, subject(s72=99), [], {}) == ({"s72": 16}, {"s72": 16})
    assert agree({"s72": 16}, subject(), [("s72", 8)], {}) == ({"s72": 8}, {})
    assert agree({"s72": 16}, subject(s5=99), [("s72", "s5")], {}) == ({"s72": 16}, {"s5": 16})
    assert agree({}, subject(s5=99), [(8, "s5")], {}) == ({}, {"s5": 8})


def test_a_size_that_the_other_graph_has_fixed() -> None:
    with pytest.raises(UsageError, match=r"s72 cannot be 9\. In a\.py that size is fixed, it is 8"):
        agree({"s72": 9}, subject(), [("s72", 8)], {"s72": 9})


def test_sizes_as_people_write_them() -> None:
    assert parse_sizes(["s72=16", "s0=1"]) == {"s72": 16, "s0": 1}
    for text in ("s72", "s72=", "=3", "s72=-1", "s72=x"):
        with pytest.raises(UsageError, match="is no size"):
            parse_sizes([text])


def test_a_size_that_there_is_not() -> None:
    with pytest.raises(UsageError, match=r"has no size 's7'\. It takes s72"):
        check_sizes({"s7": 1}, subject(s72=1))
    with pytest.raises(UsageError, match="All of its sizes are fixed"):
        check_sizes({"s7": 1}, subject())


@pytest.mark.parametrize(
    ("text", "amount"), [("256MB", 256 * 10**6), ("1.5 GiB", 3 << 29), ("4096", 4096), ("1kb", 1000), (" 2 b ", 2)]
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_bytes(text, "save_inputs") == amount


@pytest.mark.parametrize("text", ["", "0", "0MB", "-1", "MB", "1TBB", "1 000", "1e9"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UsageError, match="save_inputs is"):
        parse_bytes(text, "save_inputs")
