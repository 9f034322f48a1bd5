"""Scopes: names as folders, numbers of files, and what comes before what."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.record.compilation import Compilation, Scope, Track, safe_name, safe_path
from cutaway.record.origins import Remembered


class TestNames:
    @pytest.mark.parametrize(
        ("name", "safe"),
        [
            ("Qwen3Model.forward", "Qwen3Model.forward"),
            ("outer.<locals>.inner", "outer.inner"),
            ("<lambda>", "lambda"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "unnamed"),
            ("", "unnamed"),
            (".hidden", "hidden"),
            ("a b\nc", "a_b_c"),
            ("größe", "gr_e"),
            ("x" * 300, "x" * 100),
        ],
    )
    def test_as_folders(self, name: str, safe: str) -> None:
        assert safe_name(name) == safe

    @given(st.text())
    def test_whatever_the_name(self, name: str) -> None:
        safe = safe_name(name)
        assert 0 < len(safe) <= 100
        assert not safe.startswith(".")
        assert set(safe) <= {*string.ascii_letters, *string.digits, *"_.=+@~-"}

    @given(st.text(alphabet="a./\\ "))
    def test_a_path_stays_below(self, path: str) -> None:
        assert not {"", ".", ".."} & set(safe_path(path).split("/"))


def track(fingerprint: str) -> Track:
    return Track(Remembered(), fingerprint, {}, {})


class TestScopes:
    def test_files_are_numbered_and_90_to_99_are_kept_for_code(self) -> None:
        scope = Scope("f")
        numbers = [scope.next_number() for _ in range(102)]
        assert numbers[:3] == ["00", "01", "02"]
        assert numbers[88:92] == ["88", "89", "100", "101"]
        assert not any(90 <= int(number) <= 99 for number in numbers)
        assert len(set(numbers)) == 102

    def test_forward_and_backward_count_apart(self) -> None:
        scope = Scope("f")
        found: list[str] = []
        for phase in (None, "joint", "forward", "backward", "forward"):
            scope.phase = phase
            found.append(f"{scope.file_folder}/{scope.next_number()}")
        assert found == ["f/00", "f/01", "f/forward/00", "f/backward/00", "f/forward/01"]

    def test_a_piece_has_the_number_of_its_place_and_a_range_none(self) -> None:
        compilation = Compilation("backbone")
        compilation.root.next_number()
        first = compilation.scope("piece_00", "1_4096")
        assert first.folder == "backbone/01.piece_00/range_1_4096"
        assert first.selector == "backbone/piece_00/range_1_4096"
        assert compilation.scope("piece_01", None).folder == "backbone/02.piece_01"
        assert compilation.scope("piece_00", "1_4096") is first
        assert [scope.selector for scope in compilation.root.walk()] == [
            "backbone", "backbone/piece_00", "backbone/piece_00/range_1_4096", "backbone/piece_01",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("known", "phase", "before"),
        [
            ([None], None, None),
            ([None], "joint", None),
            ([None, "joint"], "forward", "joint"),
            ([None, "joint", "forward"], "backward", "joint"),
            ([None, "joint", "forward", "backward"], "backward", "backward"),
            ([None], "inference", None),
            ([None, "inference"], "inference", "inference"),
            ([None, "split"], "split", None),
        ],
    )
    def test_what_a_snapshot_comes_after(self, known: list[str | None], phase: str | None, before: str | None) -> None:
        scope = Scope("f", tracks={key: track(str(key)) for key in known})
        found = scope.previous(phase)
        assert found is not None
        assert found.fingerprint == str(before)

    def test_the_first_of_a_piece_comes_after_the_whole_graph(self) -> None:
        compilation = Compilation("f")
        compilation.root.tracks[None] = track("whole")
        found = compilation.scope("piece_00", "1_8").previous(None)
        assert found is not None
        assert found.fingerprint == "whole"

    def test_the_first_of_all_comes_after_nothing(self) -> None:
        assert Scope("f").previous("forward") is None

    def test_forgetting_drops_graphs_and_keeps_what_was_counted(self) -> None:
        compilation = Compilation("f")
        scope = compilation.scope("piece_00", None)
        scope.tracks[None] = Track(Remembered(frozen=[object()]), "fp", {"mm": 1}, {})  # pyright: ignore[reportArgumentType]
        compilation.root.forget()
        assert scope.tracks[None].remembered.frozen == []
        assert (scope.tracks[None].fingerprint, scope.tracks[None].counts) == ("fp", {"mm": 1})

    def test_a_second_graph_of_one_place_has_a_folder_of_its_own(self) -> None:
        compilation = Compilation("f")
        assert compilation.next_graph(None, None).selector == "f"
        assert compilation.next_graph(None, None).selector == "f/graph_2"
        assert compilation.scope(None, None).selector == "f/graph_2"
        assert compilation.next_graph(None, None).selector == "f/graph_3"
