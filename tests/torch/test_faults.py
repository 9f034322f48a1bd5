"""Whatever goes wrong in the recorder: the compile finishes with the right result, and what was announced is there."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import numbers
from recordings import check_announced, in_child, kill, python, recorded, start_child

import cutaway
from cutaway.record.compilations import Compilations
from cutaway.record.context import Host
from cutaway.record.hooks.artifacts import Artifacts
from cutaway.record.hooks.install import Hooks
from cutaway.record.hooks.passes import Passes
from cutaway.record.hooks.stages import Stages
from cutaway.record.hooks.trace import Trace
from cutaway.record.recorder import Recorder
from cutaway.record.recording import Recording
from cutaway.record.session import Session
from cutaway.record.settings import Settings
from cutaway.record.writer import DumpWriter

_tags = count()
FAILED = "cutaway: recording failed"


@contextmanager
def heard() -> Iterator[list[str]]:
    """Cutaway's warnings of a block; others stay where they belong."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield texts
        finally:
            texts += [str(warning.message) for warning in caught if "cutaway" in str(warning.message)]


def compile_anew(function: Callable[..., Any] = programs.doubled, backend: str = "inductor") -> None:
    """Compile what no graph cache has, so that every hook is called, and look at the result."""
    torch._dynamo.reset()
    with torch.compiler.config.patch(cache_key_tag=str(next(_tags))):
        found = torch.compile(function, backend=backend, dynamic=True)(numbers(3))
    assert found.equal(function(numbers(3)))


class Fault:
    """Raises when it is called: at first, or always."""

    def __init__(self, original: Callable[..., Any], always: bool, error: type[BaseException] = RuntimeError) -> None:
        self.original = original
        self.always = always
        self.error = error
        self.calls = 0

    def __get__(self, instance: object, owner: type) -> Callable[..., Any]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.always or self.calls == 1:
            raise self.error("injected")
        return self.original(*args, **kwargs)


METHODS = [
    (owner, name)
    for owner, names in {
        Hooks: ("_install_late",),
        Stages: ("logged", "at", "_captured", "_aot"),
        Trace: ("traced", "_cache", "_guards", "_metrics"),
        Passes: ("entered", "left", "end"),
        Artifacts: ("compiled", "kernel", "write"),
        Recorder: ("graph", "ran", "code", "table"),
        Session: ("begin", "cache", "metric", "finish", "event", "open", "row", "scope", "current", "write_index"),
        Compilations: ("add", "known"),
    }.items()
    for name in names
] + [
    (DumpWriter, name) for name in ("write", "event")
]  # fmt: skip

FUNCTIONS = [
    ("cutaway.record.recorder", "find_origins"),
    ("cutaway.record.recorder", "fingerprint"),
    ("cutaway.record.recorder", "freeze"),
    ("cutaway.record.recorder", "coverage"),
    ("cutaway.record.recorder", "remember"),
    ("cutaway.record.hooks.passes", "freeze"),
    ("cutaway.record.hooks.passes", "same"),
    ("cutaway.record.texts", "render_layers"),
    ("cutaway.record.texts", "node_table"),
    ("cutaway.record.texts", "header"),
    ("cutaway.record.pages", "index"),
    ("cutaway.record.pages", "write_readme"),
    ("cutaway.record.output_code", "kernels"),
    ("cutaway.record.output_code", "digest"),
    ("cutaway.record.run", "describe_run"),
    ("cutaway.record.session", "claim_run"),
    ("cutaway.torch_internals", "captured_function"),
    ("cutaway.torch_internals", "graph_of_payload"),
    ("cutaway.torch_internals", "kernel_nodes"),
    ("cutaway.torch_internals", "current_compile_id"),
    ("cutaway.torch_internals", "symbol_facts"),
    ("cutaway.torch_internals", "graph_break_of"),
    ("cutaway.torch_internals", "import_block"),
]


QUIET = ("describe_run", "import_block")  # context.json and the header of the file say what went wrong


def survives(path: Path, fault: Fault) -> None:
    """What must hold after a compile with a fault in its recorder."""
    with heard() as texts, cutaway.record(path):
        compile_anew()
    assert fault.calls, "the fault was never reached"
    assert texts or fault.original.__name__ in QUIET, "nobody was told"
    assert len(texts) == len({text.split(" in ")[1].split(":")[0] for text in texts}), texts
    assert all(text.startswith(FAILED) and "injected" in text for text in texts)
    if path.exists():
        check_announced(path, but=("manifest",) if fault.original.__name__ == "event" else ())


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
class TestInjected:
    @pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda part: getattr(part, "__name__", part))
    def test_in_a_method(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, always: bool
    ) -> None:
        fault = Fault(getattr(owner, name), always)
        monkeypatch.setattr(owner, name, fault)
        survives(tmp_path / "dump", fault)

    @pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda part: part.rpartition(".")[2])
    def test_in_a_function(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, always: bool
    ) -> None:
        owner = import_module(module)
        fault = Fault(getattr(owner, name), always)
        monkeypatch.setattr(owner, name, fault)
        survives(tmp_path / "dump", fault)

    @pytest.mark.parametrize(
        "name", ["ranks", "configuration", "provider", "donated_inputs", "make_input", "module_that_registers"]
    )
    def test_in_the_host(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, always: bool) -> None:
        fault = Fault(getattr(Host, name), always)
        monkeypatch.setattr(Host, name, fault)
        with heard() as texts, Recording(Settings(tmp_path / "dump")):
            compile_anew(programs.doubled, "aot_eager")
        if name != "module_that_registers":  # asked of custom operators alone
            assert fault.calls
        assert len(texts) <= 2
        if (tmp_path / "dump").exists():
            check_announced(tmp_path / "dump")

    @pytest.mark.parametrize("name", ["provider", "donated_inputs", "make_input"])
    def test_what_the_host_cannot_say_costs_no_graph(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, always: bool
    ) -> None:
        fault = Fault(getattr(Host, name), always)
        monkeypatch.setattr(Host, name, fault)
        with heard() as texts, Recording(Settings(tmp_path)):
            compile_anew(programs.doubled, "aot_eager")
        assert fault.calls
        recording = recorded(tmp_path)
        assert recording.stages("doubled") == ["captured", "aot_forward"]
        raw = recording.read("doubled/00.captured.py")
        told = [event["error"] for event in recording.of("error")]
        if name == "make_input":
            assert "# CANNOT RUN: nobody can say how the input" in raw
            assert "RuntimeError: injected" in raw
            assert (texts, told) == ([], [])
        else:
            assert len(texts) == 1
            assert told == ["RuntimeError: injected"] * (2 if always else 1)
        check_announced(tmp_path)


class TestAfterAFault:
    def test_the_rest_is_recorded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "graph", Fault(Recorder.graph, always=False))
            with heard(), cutaway.record(tmp_path):
                compile_anew()
        recording = recorded(tmp_path)
        assert recording.stages("doubled")[-1] == "post_grad"
        (error,) = recording.of("error")
        assert error["compilation"] == "doubled"
        assert error["error"] == "RuntimeError: injected"
        assert "Traceback" in error["traceback"]
        assert recording.of("code", kind="output_code")

    def test_one_kind_of_fault_is_told_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fault = Fault(Recorder.ran, always=True)
        monkeypatch.setattr(Recorder, "ran", fault)
        with heard() as texts, cutaway.record(tmp_path):
            compile_anew()
            compile_anew(programs.squared)
        assert fault.calls > 20
        assert len(texts) == 1
        assert len(recorded(tmp_path).of("error")) == fault.calls

    def test_when_warnings_are_errors(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Recorder, "graph", Fault(Recorder.graph, always=True))
        with warnings.catch_warnings(), cutaway.record(tmp_path):
            warnings.filterwarnings("error", message="cutaway")
            compile_anew(programs.doubled, "aot_eager")
        assert recorded(tmp_path).of("error")

    @pytest.mark.parametrize("error", [RecursionError, MemoryError, AssertionError, StopIteration])
    def test_of_any_kind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
        monkeypatch.setattr(Recorder, "graph", Fault(Recorder.graph, False, error))
        with heard() as texts, cutaway.record(tmp_path):
            compile_anew(programs.doubled, "aot_eager")
        assert error.__name__ in texts[0]

    def test_an_interrupt_is_the_programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Recorder, "graph", Fault(Recorder.graph, False, KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt), cutaway.record(tmp_path):
                compile_anew(programs.doubled, "eager")
        with cutaway.record(tmp_path):
            compile_anew(programs.doubled, "eager")
        assert recorded(tmp_path, "run_002").compilations == ["doubled"]


class TestPaths:
    @pytest.mark.parametrize("where", ["file", "file/below", "proc", "null"])
    def test_one_that_cannot_be_written(self, tmp_path: Path, where: str) -> None:
        """Permissions do not stop the super user; what is no folder stops everybody."""
        (tmp_path / "file").write_text("somebody's")
        paths = {"proc": Path("/proc/cutaway"), "null": Path(os.devnull) / "dump"}
        path = paths.get(where, tmp_path / where)
        with heard() as texts, cutaway.record(path):
            compile_anew()
            compile_anew(programs.squared, "eager")
        assert len(texts) == 1
        assert str(path) in texts[0]
        assert "nothing more will be recorded" in texts[0]
        assert (tmp_path / "file").read_text() == "somebody's"

    def test_a_whole_process(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        code = "import torch; from programs import *; print(torch.compile(doubled, backend='eager')(numbers(3)).sum())"
        found = python("-c", code, CUTAWAY_DUMP=str(tmp_path / "file" / "dump"))
        assert "tensor(" in found.stdout
        assert found.stderr.count("cutaway:") == 1

    def test_deleted_while_recording(self, tmp_path: Path) -> None:
        with heard(), cutaway.record(tmp_path / "dump"):
            compile_anew(programs.doubled, "eager")
            shutil.rmtree(tmp_path / "dump")
            compile_anew(programs.squared, "eager")

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path) -> None:
        with heard() as texts, cutaway.record(tmp_path):
            compile_anew(programs.doubled, "eager")
            (recorded(tmp_path).folder / "squared").write_text("in the way")
            compile_anew(programs.squared, "eager")
        assert len(texts) == 1
        check_announced(tmp_path)

    def test_names_that_are_too_long(self, tmp_path: Path) -> None:
        names = ["x" * 300 + end for end in "ab"]
        found: dict[str, Any] = {}
        for name in names:
            exec(f"def {name}(x): return x + 1", found)
        with heard() as texts, cutaway.record(tmp_path):
            for name in names:
                torch.compile(found[name], backend="eager")(numbers(3))
        assert texts == []
        assert len(set(recorded(tmp_path).compilations)) == 2
        check_announced(tmp_path)


def record_until_refused(path: Path, limit: int) -> list[str]:
    """Record with a limit on the size of any file; in a child, whose limits do not matter."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with torch._inductor.config.patch(force_disable_caches=True), heard() as texts:
        torch._dynamo.reset()
        with cutaway.record(path):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            found = torch.compile(programs.doubled, backend="aot_eager")(numbers(3))
        assert found.equal(programs.doubled(numbers(3)))
    return texts


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class TestFullDisk:
    @pytest.mark.parametrize("limit", [0, 300, 1500, 4000])
    def test_a_file_that_cannot_be_written_whole(self, tmp_path: Path, limit: int) -> None:
        texts = in_child(record_until_refused, tmp_path / "dump", limit)
        assert len(texts) == 1
        assert "nothing more will be recorded" in texts[0]
        check_announced(tmp_path / "dump")

    @pytest.mark.parametrize("size", ["4k", "24k", "64k"])
    def test_a_small_disk(self, tmp_path: Path, size: str) -> None:
        disk = tmp_path / "disk"
        with small_disk(disk, size):
            with heard() as texts, cutaway.record(disk / "dump"):
                compile_anew()
                compile_anew(programs.squared)
            assert len(texts) == 1
            assert "No space left on device" in texts[0]
            check_announced(disk / "dump")
            assert list(disk.rglob("*.tmp")) == []

    def test_room_again_is_a_new_recording(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        with small_disk(disk, "300k"):
            ballast = disk / "ballast"
            ballast.write_bytes(b"x" * 290_000)
            with heard() as texts, cutaway.record(disk / "dump"):
                compile_anew(programs.doubled, "aot_eager")
                ballast.unlink()
                compile_anew(programs.squared, "aot_eager")
            assert len(texts) == 1
            with heard() as texts, cutaway.record(disk / "dump"):
                compile_anew(programs.doubled, "aot_eager")
            assert texts == []
            latest = max((disk / "dump").glob("run_*")).name
            assert recorded(disk / "dump", latest).compilations == ["doubled"]
            check_announced(disk / "dump")


def compile_forever(path: Path) -> None:
    functions = [programs.doubled, programs.squared, programs.shifted, programs.with_break]
    with cutaway.record(path):
        while True:
            torch._dynamo.reset()
            for function in functions:
                torch.compile(function, backend="aot_eager", dynamic=True)(numbers(3))


def wait_for(manifest: Path, events: int, child: int) -> None:
    """Kill a child as soon as its manifest has so many lines."""
    until = time.monotonic() + 60
    try:
        while not manifest.exists() or manifest.read_bytes().count(b"\n") < events:
            assert time.monotonic() < until, "the child records nothing"
            time.sleep(0.002)
    finally:
        kill(child)


class TestKilled:
    @pytest.mark.parametrize("events", [2, 9, 23, 60])
    def test_what_was_announced_is_there(self, tmp_path: Path, events: int) -> None:
        child = start_child(compile_forever, tmp_path)
        manifest = recorded(tmp_path).folder / "manifest.jsonl"
        wait_for(manifest, events, child)
        content = manifest.read_bytes()
        assert content.endswith(b"\n")
        assert content.count(b"\n") >= events
        check_announced(tmp_path)
        assert recorded(tmp_path).of("end", compilation=None) == []

    def test_the_reader_says_that_it_is_not_complete(self, tmp_path: Path) -> None:
        child = start_child(compile_forever, tmp_path)
        manifest = recorded(tmp_path).folder / "manifest.jsonl"
        wait_for(manifest, 9, child)
        dump = cutaway.load(tmp_path)
        assert not dump.complete
        assert dump.compilations
