"""What must hold of a recording whatever is recorded: what failed is told, and costs no more than it must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import fx

from cutaway.record.compilation import Compilation
from cutaway.record.hooks import Hooks
from cutaway.record.recorder import Recorder
from cutaway.record.session import Session
from cutaway.record.settings import Settings
from cutaway.torch_internals import kernel_nodes


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(Settings(tmp_path / "dump"))


def events(recorder: Recorder) -> list[dict[str, Any]]:
    """What the manifest of the process's folder says."""
    assert recorder.writer is not None
    return [json.loads(line) for line in (recorder.writer.folder / "manifest.jsonl").read_text().splitlines()]


class TestRefused:
    def test_what_is_not_the_dumps_costs_that_part_alone(self, recorder: Recorder) -> None:
        def write_beside_a_cache() -> None:
            raise PermissionError(13, "Permission denied", "/a/cache/that/is/read/only")

        with pytest.warns(RuntimeWarning, match="Permission denied.* lacks this part"):
            recorder.guarded(write_beside_a_cache)()
        assert not recorder.disabled
        recorder.guarded(recorder.metric)("compile_time", {"seconds": 1.0})
        assert [event["event"] for event in events(recorder)] == ["run", "error", "metric"]

    def test_the_dumps_folder_ends_the_recording(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        recorder = Recorder(Settings(tmp_path / "file" / "dump"))
        with pytest.warns(RuntimeWarning, match="nothing more will be recorded"):
            recorder.guarded(recorder.metric)("compile_time", {"seconds": 1.0})
        assert recorder.disabled

    def test_so_does_its_manifest(self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder.open()
        with monkeypatch.context() as patch:
            patch.setattr("cutaway.record.writer.os.write", lambda file, content: 0)  # pyright: ignore[reportUnknownLambdaType]
            with pytest.warns(RuntimeWarning, match="No space left on device.* nothing more will be recorded"):
                recorder.guarded(recorder.metric)("compile_time", {"seconds": 1.0})
        assert recorder.disabled


class TestTheEnd:
    def test_one_compilation_that_cannot_be_concluded_does_not_take_the_end_away(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def finish(self: Recorder, compilation: Compilation) -> None:
            if compilation is first:
                raise RuntimeError("injected")
            Session.finish(self, compilation)

        first, second = recorder.begin(None, {}, None), recorder.begin(None, {}, None)
        monkeypatch.setattr(Recorder, "finish", finish)
        with pytest.warns(RuntimeWarning, match="injected"):
            recorder.close()
        ends = [event["compilation"] for event in events(recorder) if event["event"] == "end"]
        assert ends == [second.name, None]

    def test_nothing_is_recorded_after_it(self, recorder: Recorder) -> None:
        recorder.close()
        recorder.guarded(recorder.metric)("compile_time", {"seconds": 1.0})
        assert recorder.writer is None

    def test_a_hook_that_cannot_be_taken_out_keeps_no_other_in(
        self, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop() -> None:
            raise RuntimeError("injected")

        before = fx.GraphModule.print_readable
        hooks = Hooks(recorder)
        hooks.install()
        assert fx.GraphModule.print_readable is not before
        monkeypatch.setattr(hooks.artifacts, "stop", stop)
        with pytest.warns(RuntimeWarning, match="taking out a hook: RuntimeError: injected"):
            hooks.remove()
        assert fx.GraphModule.print_readable is before
        assert [event["where"] for event in events(recorder) if event["event"] == "error"] == ["taking out a hook"]


def test_a_torch_that_has_a_hook_elsewhere_is_recorded_without_it(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved() -> Any:
        raise ImportError("cannot import name 'trace_structured'")

    monkeypatch.setattr("cutaway.torch_internals.trace_structured", moved)
    hooks = Hooks(recorder)
    with pytest.warns(RuntimeWarning, match="putting in the hook trace_structured: ImportError"):
        hooks.install()
    hooks.remove()
    assert [event["event"] for event in events(recorder)] == ["run", "error"]


class TestAForkedChild:
    def test_the_parents_compilation_is_not_its_own(self, recorder: Recorder) -> None:
        """Inductor was called without Dynamo: the compilation is the thread's, and the thread lives on in the child."""
        parents = recorder.current()
        recorder.after_fork()
        assert recorder.compilations.known() is None
        own = recorder.current()
        assert own is not parents
        assert [event["event"] for event in events(recorder)] == ["run", "compilation"]

    def test_nor_are_the_reasons_that_torch_told_the_parent(self, recorder: Recorder) -> None:
        recorder.compilations.foretell(["a size has changed"])
        recorder.after_fork()
        assert recorder.compilations.foretold() == ()


class TestNodesOfAKernel:
    """Inductor gives them as a set; the dump has them in the same order each time."""

    class Part:
        def __init__(self, nodes: list[fx.Node]) -> None:
            self.node = self
            self.origins = nodes
            self.origin_node = None

    def graph(self, *names: str) -> list[fx.Node]:
        graph = fx.Graph()
        return [graph.create_node("call_function", len, name=name) for name in names]

    def test_of_one_graph_stand_as_there(self) -> None:
        nodes = self.graph("third", "first", "second")
        assert kernel_nodes([self.Part(nodes[::-1])], False).nodes == ["third", "first", "second"]

    def test_of_several_graphs_stand_graph_by_graph(self) -> None:
        outer, branch = self.graph("pred", "cond"), self.graph("mul", "add")
        mixed = [branch[1], outer[1], branch[0], outer[0]]
        assert kernel_nodes([self.Part(mixed)], False).nodes == ["mul", "add", "pred", "cond"]
        assert kernel_nodes([self.Part(mixed[::-1])], False).nodes == ["mul", "add", "pred", "cond"]
