"""Runs, processes and names: nothing overwrites anything, and the same program leaves the same tree."""

from __future__ import annotations

import os
import subprocess
import threading
import warnings
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import numbers
from recordings import Recorded, check, in_child, python, recorded

import cutaway

PROGRAM = """
import torch
from programs import Net, doubled, numbers

compiled = torch.compile(Net(), backend="aot_eager")
print(compiled(numbers(4, 8)).sum().item())
print(compiled(numbers(7, 8)).sum().item())
print(torch.compile(doubled, backend="aot_eager")(numbers(3)).sum().item())
"""


def record_one(path: Path, function: Any = programs.doubled) -> None:
    torch._dynamo.reset()
    with cutaway.record(path):
        torch.compile(function, backend="eager")(numbers(3))


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


class TestTwoRecordings:
    def test_into_one_path_are_two_runs(self, tmp_path: Path) -> None:
        record_one(tmp_path)
        before = contents(tmp_path)
        record_one(tmp_path, programs.squared)
        after = contents(tmp_path)
        assert {name: after[name] for name in before} == before
        assert recorded(tmp_path, "run_001").compilations == ["doubled"]
        assert recorded(tmp_path, "run_002").compilations == ["squared"]
        check(tmp_path)

    def test_at_once_from_two_processes(self, tmp_path: Path) -> None:
        record_one(tmp_path / "warm")  # imports done
        reading, writing = os.pipe()
        children: list[int] = []
        for function in (programs.doubled, programs.squared, programs.shifted):
            child = os.fork()
            if child == 0:
                os.close(writing)
                os.read(reading, 1)  # all begin when the pipe is closed
                record_one(tmp_path / "dump", function)
                os._exit(0)
            children.append(child)
        os.close(writing)
        os.close(reading)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        found = [recorded(tmp_path / "dump", f"run_00{n}").compilations for n in (1, 2, 3)]
        assert sorted(found) == [["doubled"], ["shifted"], ["squared"]]
        check(tmp_path / "dump")

    def test_nothing_compiled_leaves_nothing(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path / "dump"):
            programs.doubled(numbers(3))
        assert not (tmp_path / "dump").exists()


class TestForks:
    def test_a_child_gets_a_folder_of_its_own(self, tmp_path: Path) -> None:
        def in_the_child() -> None:
            torch.compile(programs.squared, backend="eager")(numbers(3))

        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, backend="eager")(numbers(3))
            in_child(in_the_child)
            torch.compile(programs.shifted, backend="eager")(numbers(3))
        found = {tuple(Recorded(manifest.parent).compilations) for manifest in tmp_path.glob("run_*/*/manifest.jsonl")}
        assert found == {("doubled", "shifted"), ("squared",)}
        check(tmp_path)

    def test_a_child_before_anything_was_recorded(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path):
            in_child(lambda: torch.compile(programs.squared, backend="eager")(numbers(3)) is None)
            torch.compile(programs.doubled, backend="eager")(numbers(3))
        assert recorded(tmp_path, "run_001").compilations == ["squared"]
        assert recorded(tmp_path, "run_002").compilations == ["doubled"]

    def test_a_child_compiles_the_same_function_anew(self, tmp_path: Path) -> None:
        """What the parent has seen of it must not be missing from the child's folder."""

        def in_the_child() -> None:
            torch._dynamo.reset()
            torch.compile(programs.doubled)(numbers(3))

        with cutaway.record(tmp_path):
            torch.compile(programs.doubled)(numbers(3))
            in_child(in_the_child)
        parent, child = (recorded(tmp_path, run) for run in ("run_001", "run_002"))
        assert child.compilations == parent.compilations == ["doubled"]
        for kind in ("output_code", "kernel", "guards"):
            assert len(child.of("code", kind=kind)) == len(parent.of("code", kind=kind)) == 1
        check(tmp_path)

    def test_a_child_after_the_recording_records_nothing(self, tmp_path: Path) -> None:
        record_one(tmp_path)
        before = contents(tmp_path)
        in_child(lambda: torch.compile(programs.squared, backend="eager")(numbers(3)) is None)
        assert contents(tmp_path) == before


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """The same program in two processes with nothing but ``CUTAWAY_DUMP`` set, at different hash seeds."""
    path = tmp_path_factory.mktemp("twice")
    program = path / "program.py"
    program.write_text(PROGRAM)
    printed = [
        python(str(program), CUTAWAY_DUMP=str(path / name), PYTHONHASHSEED=seed).stdout
        for name, seed in (("one", "1"), ("two", "2"))
    ]
    return path / "one", path / "two", printed


class TestAWholeProcess:
    def test_is_recorded_without_a_change_of_its_code(self, twice: tuple[Path, Path, list[str]]) -> None:
        recording = recorded(twice[0])
        assert recording.compilations == ["Net.forward", "Net.forward.2", "doubled"]
        assert recording.events[-1]["event"] == "end"
        check(twice[0])

    def test_runs_as_without_a_recorder(self, twice: tuple[Path, Path, list[str]]) -> None:
        assert twice[2][0] == twice[2][1]
        with torch.no_grad():
            eager = programs.Net()(numbers(4, 8)).sum().item()
        assert twice[2][0].splitlines()[0] == str(eager)

    def test_leaves_the_same_tree_every_time(self, twice: tuple[Path, Path, list[str]]) -> None:
        one, two = contents(twice[0]), contents(twice[1])
        assert sorted(one) == sorted(two)
        for name in one:
            if not name.endswith(("manifest.jsonl", "context.json", "index.md")):
                assert one[name] == two[name], name

    def test_leaves_the_same_events_every_time(self, twice: tuple[Path, Path, list[str]]) -> None:
        def steps(path: Path) -> list[dict[str, Any]]:
            events = recorded(path).events
            moving = {"time", "ms", "pid", "values", "argv", "context"}
            return [{key: value for key, value in event.items() if key not in moving} for event in events]

        assert steps(twice[0]) == steps(twice[1])


SHORT = "import torch; from programs import *; {before}torch.compile(doubled, backend='eager')(numbers(3))"


class TestVariables:
    def run(self, code: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return python("-c", SHORT.format(before=code), **variables)

    def test_cutaway_0_keeps_out(self, tmp_path: Path) -> None:
        path = tmp_path / "dump"
        found = self.run(
            "import sys; assert 'cutaway.record.recording' not in sys.modules; ", CUTAWAY="0", CUTAWAY_DUMP=str(path)
        )
        assert not path.exists()
        assert found.stderr == ""

    def test_only_says_which_part(self, tmp_path: Path) -> None:
        code = "torch.compile(squared, backend='eager')(numbers(3)); "
        self.run(code, CUTAWAY_DUMP=str(tmp_path), CUTAWAY_ONLY="function=doubled stage=captured")
        recording = recorded(tmp_path)
        assert recording.compilations == ["doubled"]
        assert [event["stage"] for event in recording.of("snapshot")] == ["captured"]
        check(tmp_path)

    def test_a_wrong_word_in_only_is_one_warning_and_no_recording(self, tmp_path: Path) -> None:
        found = self.run(CUTAWAY_DUMP=str(tmp_path / "dump"), CUTAWAY_ONLY="stage=nowhere")
        assert not (tmp_path / "dump").exists()
        assert found.stderr.count("cutaway: nothing will be recorded") == 1
        assert "no stage is called 'nowhere'" in found.stderr

    @pytest.mark.parametrize("limit", ["lots", "0", "-1"])
    def test_a_wrong_limit_is_one_warning_and_no_recording(self, tmp_path: Path, limit: str) -> None:
        variables = {"CUTAWAY_DUMP": str(tmp_path / "dump"), "CUTAWAY_MAX_BYTES": limit}
        found = in_child(_started, variables)
        assert len(found) == 1
        assert "nothing will be recorded" in found[0]
        assert "CUTAWAY_MAX_BYTES" in found[0]

    def test_of_an_empty_path_nothing_is_recorded(self, tmp_path: Path) -> None:
        assert in_child(_started, {"CUTAWAY_DUMP": ""}) == []

    def test_processes_that_a_recorded_one_starts_join_its_run(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys, os; os.environ.get('AGAIN') or "
            "subprocess.run([sys.executable, '-c', open(sys.argv[1]).read(), sys.argv[1]], "
            "env=os.environ | {'AGAIN': '1'}, check=True); "
        )
        script = tmp_path / "script.py"
        script.write_text(SHORT.format(before="torch.compile(squared, backend='eager')(numbers(3)); " + code))
        python(str(script), str(script), CUTAWAY_DUMP=str(tmp_path / "dump"))
        assert [folder.name for folder in (tmp_path / "dump").glob("run_*")] == ["run_001"]
        found = sorted(folder.name for folder in (tmp_path / "dump" / "run_001").iterdir())
        assert found == ["rank_0_dp_0", "rank_0_dp_0.2"]
        check(tmp_path / "dump")

    def test_ranks_have_folders_of_their_names(self, tmp_path: Path) -> None:
        def rank_one() -> None:
            os.environ["RANK"] = "1"
            record_one(tmp_path)

        in_child(rank_one)
        recording = recorded(tmp_path, process="rank_1_dp_0")
        assert recording.events[0]["rank"] == 1


def _started(variables: dict[str, str]) -> list[str]:
    """The warnings of starting with these variables; in a child, whose environment does not matter."""
    from cutaway.record import autostart  # noqa: PLC0415  (in the child alone)

    os.environ.update(variables)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        autostart.start()
    return [str(warning.message) for warning in caught]


class TestThreads:
    def test_a_compile_on_another_thread_is_recorded(self, tmp_path: Path) -> None:
        results: list[torch.Tensor] = []

        def work() -> None:
            results.append(torch.compile(programs.doubled, backend="aot_eager")(numbers(3)))

        with cutaway.record(tmp_path):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert results[0].equal(programs.doubled(numbers(3)))
        assert recorded(tmp_path).stages("doubled") == ["captured", "aot_forward"]
        check(tmp_path)

    def test_many_at_once(self, tmp_path: Path) -> None:
        functions = [programs.doubled, programs.squared, programs.shifted, programs.with_break]
        threads = [
            threading.Thread(target=lambda f=function: torch.compile(f, backend="aot_eager")(numbers(3)))
            for function in functions
        ]
        with cutaway.record(tmp_path):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        recording = recorded(tmp_path)
        assert {"doubled", "squared", "shifted", "with_break"} <= set(recording.compilations)
        assert all(recording.stages(name) == ["captured", "aot_forward"] for name in recording.compilations)
        assert recording.of("error") == []
        check(tmp_path)


class TestNames:
    def test_two_functions_of_one_name(self, tmp_path: Path) -> None:
        def make(constant: int) -> Any:
            def inner(x: torch.Tensor) -> torch.Tensor:
                return x + constant

            return inner

        with cutaway.record(tmp_path):
            for constant in (1, 2):
                torch._dynamo.reset()
                torch.compile(make(constant), backend="eager")(numbers(3))
        names = recorded(tmp_path).compilations
        assert len(set(names)) == 2
        assert [recorded(tmp_path).of("compilation", compilation=name)[0]["folder"] for name in names] == names
        check(tmp_path)

    def test_one_that_the_dump_uses_itself(self, tmp_path: Path) -> None:
        def nodes(x: torch.Tensor) -> torch.Tensor:
            return x + 1

        nodes.__qualname__ = "nodes"
        nodes.__code__ = nodes.__code__.replace(co_qualname="nodes")
        with cutaway.record(tmp_path):
            torch.compile(nodes, backend="eager")(numbers(3))
        recording = recorded(tmp_path)
        assert all(file.endswith(".json") for file in recording.files if file.startswith("nodes/"))
        check(tmp_path)

    def test_a_lambda(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path):
            torch.compile(lambda x: x + 1, backend="eager")(numbers(3))
        (name,) = recorded(tmp_path).compilations
        assert (recorded(tmp_path).folder / name / "00.captured.py").exists()
        assert "/" not in name

    def test_a_module_of_torch_itself(self, tmp_path: Path) -> None:
        """Dynamo puts a frame of its own around it, in which it is called ``fn``."""
        with cutaway.record(tmp_path):
            torch.compile(torch.nn.Sequential(torch.nn.Linear(3, 3)), backend="eager")(numbers(3))
        recording = recorded(tmp_path)
        assert recording.compilations == ["Sequential.forward"]
        (event,) = recording.of("snapshot")
        assert event["layers"] == ["0"]
        table = recording.table(event)
        assert table["layers"] == [["Sequential", "0: Linear"]]
        assert table["nodes"][0]["input"] == "self.0.weight"

    def test_a_function_of_torch_itself(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path):
            torch.compile(torch.nn.functional.gelu, backend="eager")(numbers(3))
        assert recorded(tmp_path).compilations == ["gelu"]

    @pytest.mark.parametrize("options", [{"fullgraph": True}, {"dynamic": True}, {"backend": "aot_eager"}])
    def test_however_it_was_asked_for(self, tmp_path: Path, options: dict[str, Any]) -> None:
        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, **{"backend": "eager", **options})(numbers(3))
        assert recorded(tmp_path).compilations == ["doubled"]

    def test_a_module_compiled_in_place(self, tmp_path: Path) -> None:
        net = programs.Net()
        with cutaway.record(tmp_path):
            net.compile(backend="eager")
            net(numbers(4, 8))
        assert recorded(tmp_path).compilations == ["Net.forward"]
