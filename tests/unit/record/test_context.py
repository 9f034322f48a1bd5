"""The place in a compile: set around a call, seen on its thread alone."""

from __future__ import annotations

import os
import threading

import pytest

from cutaway.record.context import Host, Where, at, range_name, where


def test_nothing_is_said_at_first() -> None:
    assert where() == Where()


def test_places_nest_and_end() -> None:
    with at(compilation="backbone", model="Qwen3"):
        with at(piece="piece_02", range="1_8"):
            assert where() == Where("backbone", "Qwen3", "piece_02", "1_8")
            with at(piece=None):
                assert where().piece is None
        assert where() == Where("backbone", "Qwen3")
    assert where() == Where()


def test_a_place_ends_when_its_block_raises() -> None:
    with pytest.raises(KeyError), at(piece="piece_00"):
        raise KeyError
    assert where() == Where()


def test_another_thread_is_somewhere_else() -> None:
    seen: list[Where] = []
    with at(compilation="backbone"):
        thread = threading.Thread(target=lambda: seen.append(where()))
        thread.start()
        thread.join()
    assert seen == [Where()]


def test_a_place_that_does_not_exist() -> None:
    with pytest.raises(TypeError), at(layer="0"):
        pass


def test_ranges_as_they_are_written() -> None:
    assert range_name(1, 4096) == "1_4096"
    assert range_name(8, 8) == "8_8"


class TestTheDefaultHost:
    @pytest.mark.parametrize(("rank", "found"), [("3", 3), ("", 0), (None, 0)])
    def test_the_rank_is_torchruns(self, monkeypatch: pytest.MonkeyPatch, rank: str | None, found: int) -> None:
        monkeypatch.delenv("RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("RANK", rank)
        assert Host().ranks() == (found, 0)
        assert os.environ.get("RANK") == rank

    def test_it_knows_nothing_more(self) -> None:
        host = Host()
        assert (host.configuration(), host.donated_inputs(), host.engine_ops) == ({}, [], frozenset())
