"""What ``cutaway.record`` may be asked for, and how it may be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import numbers
from recordings import check, recorded

import cutaway
from cutaway import UsageError


def compile_two(backend: str = "aot_eager") -> None:
    torch.compile(programs.Net(), backend=backend)(numbers(4, 8))
    torch.compile(programs.doubled, backend=backend)(numbers(3))


class TestUse:
    def test_as_a_decorator_each_call_is_a_run(self, tmp_path: Path) -> None:
        @cutaway.record(tmp_path)
        def compute(constant: int) -> torch.Tensor:
            """Keeps its docstring."""
            torch._dynamo.reset()
            return torch.compile(programs.doubled, backend="eager")(numbers(3)) + constant

        assert compute.__doc__ == "Keeps its docstring."
        assert compute(2).equal(programs.doubled(numbers(3)) + 2)
        compute(3)
        assert [recorded(tmp_path, f"run_00{n}").compilations for n in (1, 2)] == [["doubled"], ["doubled"]]

    def test_one_object_again(self, tmp_path: Path) -> None:
        recording = cutaway.record(tmp_path)
        for function in (programs.doubled, programs.squared):
            with recording:
                torch.compile(function, backend="eager")(numbers(3))
        assert recorded(tmp_path, "run_002").compilations == ["squared"]

    @pytest.mark.parametrize("kind", [str, Path, os.fspath])
    def test_paths_of_any_kind(self, tmp_path: Path, kind: Any) -> None:
        with cutaway.record(kind(tmp_path / "new" / "folder")):
            torch.compile(programs.doubled, backend="eager")(numbers(3))
        assert recorded(tmp_path / "new" / "folder").compilations == ["doubled"]

    def test_a_relative_path_stays_where_it_was_when_the_program_moves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with cutaway.record("dump"):
            torch.compile(programs.doubled, backend="eager")(numbers(3))
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            torch.compile(programs.squared, backend="eager")(numbers(3))
        assert recorded(tmp_path / "dump").compilations == ["doubled", "squared"]

    def test_a_relative_path_is_that_of_the_call(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with cutaway.record("dump"):
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            torch.compile(programs.doubled, backend="eager")(numbers(3))
        assert recorded(tmp_path / "dump").compilations == ["doubled"]

    def test_what_was_compiled_before_is_not_recorded(self, tmp_path: Path) -> None:
        doubled = torch.compile(programs.doubled, backend="eager")
        doubled(numbers(3))
        with cutaway.record(tmp_path):
            doubled(numbers(3))
            doubled(numbers(3, 4))
        (event,) = recorded(tmp_path).of("compilation")
        assert (event["compilation"], event["recompile"]) == ("doubled.2", 1)

    def test_the_callable_package(self, tmp_path: Path) -> None:
        assert cutaway.record(tmp_path).path == tmp_path
        assert cutaway.record.__name__ == "cutaway.record"


class TestWrongUse:
    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_that_leaves_no_room(self, tmp_path: Path, limit: int) -> None:
        with pytest.raises(UsageError, match="max_bytes"):
            cutaway.record(tmp_path, max_bytes=limit)

    def test_a_stage_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no stage is called 'nowhere'"):
            cutaway.record(tmp_path, stages=["captured", "nowhere"])


class TestFilters:
    def test_by_stage(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path, stages=["captured", "aot_*"]):
            compile_two()
        recording = recorded(tmp_path)
        assert recording.stages("Net.forward") == ["captured", "aot_joint", "aot_forward", "aot_backward"]
        assert recording.of("metric", kind="compile_time") == []
        assert recording.of("code") == []
        check(tmp_path)

    def test_by_function(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path, functions="Net.*"):
            compile_two()
        recording = recorded(tmp_path)
        assert recording.compilations == ["Net.forward"]
        assert {event["compilation"] for event in recording.events} <= {"Net.forward", None}
        assert [file for file in recording.files if file.startswith("doubled")] == []
        check(tmp_path)

    def test_a_function_that_is_never_compiled(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path / "dump", functions="nothing"):
            compile_two()
        assert not (tmp_path / "dump").exists() or recorded(tmp_path / "dump").of("snapshot") == []

    def test_by_pass(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path, passes="*locality*"), torch.no_grad():
            torch.compile(programs.Net())(numbers(4, 8))
        recording = recorded(tmp_path)
        assert {event["pass"] for event in recording.of("pass")} == {"reorder_for_locality"}
        assert "captured" in recording.stages("Net.forward")
        check(tmp_path)


class TestMaxBytes:
    def test_events_go_on_and_files_stop(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path / "all"):
            compile_two()
        torch._dynamo.reset()
        with cutaway.record(tmp_path / "some", max_bytes=20_000):
            compile_two()
        everything, some = recorded(tmp_path / "all"), recorded(tmp_path / "some")
        assert [event["event"] for event in some.events] == [event["event"] for event in everything.events]
        assert [event.get("graph") for event in some.events] == [event.get("graph") for event in everything.events]
        written = sum(file["bytes"] for file in some.announced)
        left_out = some.events[-1]["values"]["files_left_out"]
        assert 0 < written <= 20_000
        assert written == some.events[-1]["values"]["bytes"]
        assert len(some.announced) + left_out == len(everything.announced)
        assert left_out > 0
        check(tmp_path / "some")

    def test_a_graph_whose_files_were_left_out_is_not_named_as_if_it_were_there(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path, max_bytes=1):
            for _ in range(2):
                torch._dynamo.reset()
                torch.compile(programs.doubled, backend="eager")(numbers(3))
        one, two = recorded(tmp_path).of("snapshot")
        assert one["graph"] == two["graph"]
        assert (one["same_as"], two["same_as"]) == (None, None)
        check(tmp_path)

    def test_an_index_is_written_even_then(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path, max_bytes=1):
            compile_two("eager")
        recording = recorded(tmp_path)
        assert recording.announced == []
        assert {"Net.forward/index.md", "doubled/index.md", "context.json"} <= set(recording.files)
        check(tmp_path)

    def test_it_is_no_failure(self, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
        with cutaway.record(tmp_path, max_bytes=1):
            compile_two("eager")
        assert [str(warning.message) for warning in recwarn if "cutaway" in str(warning.message)] == []
        assert recorded(tmp_path).of("error") == []
