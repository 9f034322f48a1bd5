"""Switches: what is written is what is read, and the default changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.errors import UsageError
from cutaway.explain.switches import EVERYWHERE, VARIABLE, Errand, Keep, Place, Switches, read_switches

places = st.builds(Place, st.sampled_from(["*", "piece_00", "piece_12"]), st.sampled_from(["*", "1_16", "8_8"]))
several = st.lists(places, max_size=3).map(tuple)
words = st.text(min_size=1, max_size=5)
switches = st.builds(
    Switches,
    eager=several,
    compare=several,
    restored=several,
    compare_calls=st.integers(0, 99),
    fresh=several,
    errands=st.lists(st.builds(Errand, places, words, words), max_size=2).map(tuple),
    keep=st.lists(st.builds(Keep, places, st.integers(1, 9)), max_size=2).map(tuple),
    times=several,
    passes_off=st.lists(words, max_size=3).map(tuple),
    pass_limits=st.dictionaries(words, st.integers(0, 9), max_size=2),
    providers=st.dictionaries(words, st.lists(words, max_size=2).map(tuple), max_size=2),
    rtol=st.none() | st.floats(0, 1),
)


@given(switches)
def test_what_is_written_is_what_is_read(given: Switches) -> None:
    assert Switches.from_json(given.to_json()) == given
    assert hash(given) == hash(Switches.from_json(given.to_json()))


def test_the_default_changes_nothing_and_is_empty() -> None:
    assert not Switches().changes_something
    assert Switches().to_json() == "{}"
    assert Switches(eager=(EVERYWHERE,)).looks_at_pieces
    assert Switches(passes_off=("x",)).changes_compile


def test_a_place_holds_pieces_and_ranges() -> None:
    assert EVERYWHERE.holds("piece_00", "1_16")
    assert Place("piece_00").holds("piece_00", "8_8")
    assert not Place("piece_00", "1_16").holds("piece_00", "8_8")
    assert str(Place("piece_00", "1_16")) == "piece_00/range_1_16"


def test_a_process_reads_what_its_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_switches() is None
    asked = Switches(compare=(EVERYWHERE,))
    for name, value in asked.write(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert read_switches() == (asked, tmp_path / "inside")


@pytest.mark.parametrize("text", ["", "[1]", '{"unknown": 1}', '{"eager": ["piece_00"]}', '{"errands": [{}]}'])
def test_what_is_no_switches_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no switches"):
        Switches.from_json(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match=r"none\.json"):
        read_switches()
