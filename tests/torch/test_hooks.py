"""The recorder's hooks: none before, none after, and what is not loaded is not loaded for them."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from hooks_of_torch import watched
from programs import numbers
from recordings import check, in_child, python, recorded

import cutaway
from cutaway import torch_internals
from cutaway.record import recording as recording_module
from cutaway.record.recorder import Recorder

STORY = """
import json, os, sys
import torch
from hooks_of_torch import watched

untouched = watched()
def says():
    now = watched()
    return {name: now[name] is untouched.get(name, now[name]) for name in now}

story = {}
import cutaway, cutaway.record
story["after import"] = says()
def imported(*names):
    return [name for name in names if name in sys.modules]
story["imported"] = imported("torch._dynamo", "torch._inductor", "cutaway.record.hooks")

from programs import doubled, numbers
recording = cutaway.record(sys.argv[1])
story["after record()"] = says()
with recording:
    story["inside"] = says()
    story["imported inside"] = imported("torch._inductor.compile_fx", "torch._inductor.debug")
    import torch._inductor.debug, torch._inductor.output_code, torch.fx.passes.graph_transform_observer
    untouched = {**watched(), **untouched}
    torch.compile(doubled, backend="aot_eager")(numbers(3))
    story["late"] = says()
story["after"] = says()
print(json.dumps(story))
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process of its own saw of torch before, inside and after a recording."""
    path = tmp_path_factory.mktemp("story")
    return json.loads(python("-c", STORY, str(path)).stdout.splitlines()[-1])


class TestAProcessOfItsOwn:
    def test_importing_patches_nothing(self, story: dict[str, Any]) -> None:
        assert all(story["after import"].values())
        assert {"trace_structured", "lazy_format_graph_code", "print_readable"} <= story["after import"].keys()

    def test_importing_imports_no_compiler_and_no_recorder(self, story: dict[str, Any]) -> None:
        assert story["imported"] == []

    def test_a_recording_that_has_not_begun_patches_nothing(self, story: dict[str, Any]) -> None:
        assert all(story["after record()"].values())

    def test_inside_it_looks(self, story: dict[str, Any]) -> None:
        """The comparison can fail: inside a recording it does."""
        for name in ("trace_structured", "lazy_format_graph_code", "print_readable"):
            assert not story["inside"][name]

    def test_beginning_imports_no_compiler(self, story: dict[str, Any]) -> None:
        assert story["imported inside"] == []

    def test_what_is_loaded_later_is_hooked_later(self, story: dict[str, Any]) -> None:
        for name in ("__enter__", "__exit__", "post_compile", "kernels"):
            assert not story["late"][name]

    def test_nothing_is_left(self, story: dict[str, Any]) -> None:
        assert all(story["after"].values())
        assert {"__enter__", "__exit__", "post_compile", "kernels"} <= story["after"].keys()


@pytest.mark.parametrize(
    ("autoload", "added"),
    [
        ("0", ["cutaway", "cutaway.errors", "cutaway.record"]),
        ("1", ["cutaway", "cutaway.errors", "cutaway.record", "cutaway.record.autostart"]),
    ],
)
def test_importing_costs_little(autoload: str, added: list[str]) -> None:
    """Three small modules beside torch, which itself calls `autostart` unless its autoload is off."""
    code = """
import sys
import torch
known = set(sys.modules) - {name for name in sys.modules if name.split(".")[0] == "cutaway"}
import cutaway.record
print(*sorted(set(sys.modules) - known))
"""
    assert python("-c", code, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload).stdout.split() == added


class TestInThisProcess:
    def test_hooks_are_in_and_out(self, tmp_path: Path) -> None:
        before = watched()
        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, backend="eager")(numbers(3))
            inside = watched()
            assert [name for name in before if inside[name] is before[name]] == []
        assert watched() == before

    def test_out_when_the_program_raises(self, tmp_path: Path) -> None:
        before = watched()

        @cutaway.record(tmp_path)
        def raises() -> None:
            torch.compile(programs.doubled, backend="eager")(numbers(3))
            raise KeyError

        with pytest.raises(KeyError):
            raises()
        assert watched() == before
        assert recorded(tmp_path).events[-1]["event"] == "end"

    def test_nested_recordings_each_see_all(self, tmp_path: Path) -> None:
        before = watched()
        with cutaway.record(tmp_path / "outer"):
            with cutaway.record(tmp_path / "inner"):
                torch.compile(programs.doubled, backend="aot_eager")(numbers(3))
            torch._dynamo.reset()
            torch.compile(programs.squared, backend="aot_eager")(numbers(3))
        assert recorded(tmp_path / "inner").compilations == ["doubled"]
        assert recorded(tmp_path / "outer").compilations == ["doubled", "squared"]
        for name in ("inner", "outer"):
            assert recorded(tmp_path / name).stages("doubled") == ["captured", "aot_forward"]
            check(tmp_path / name)
        assert watched() == before

    def test_recordings_that_overlap_end_in_any_order(self, tmp_path: Path) -> None:
        def overlapping() -> bool:
            before = watched()
            one, two = cutaway.record(tmp_path / "one"), cutaway.record(tmp_path / "two")
            one.start()
            two.start()
            torch.compile(programs.doubled, backend="eager")(numbers(3))
            one.stop()
            torch._dynamo.reset()
            torch.compile(programs.squared, backend="eager")(numbers(3))
            two.stop()
            return watched() == before

        nothing_left = in_child(overlapping)
        assert recorded(tmp_path / "one").compilations == ["doubled"]
        assert recorded(tmp_path / "two").compilations == ["doubled", "squared"]
        assert nothing_left

    def test_a_finished_recording_is_let_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[weakref.ref[Recorder]] = []

        class Watched(Recorder):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                made.append(weakref.ref(self))

        monkeypatch.setattr(recording_module, "Recorder", Watched)
        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, backend="aot_eager")(numbers(3))
        gc.collect()
        assert [recorder() for recorder in made] == [None]

    def test_graphs_are_let_go_when_their_compile_is_over(self, tmp_path: Path) -> None:
        seen: list[weakref.ref[torch.fx.GraphModule]] = []

        def backend(gm: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
            seen.append(weakref.ref(gm))
            return gm.forward

        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, backend=backend)(numbers(3))
            torch._dynamo.reset()
            gc.collect()
            assert [ref() for ref in seen] == [None]

    def test_recording_does_not_collect_for_the_program(self, tmp_path: Path) -> None:
        gc.disable()
        try:
            with cutaway.record(tmp_path):
                torch.compile(programs.doubled, backend="eager")(numbers(3))
            assert not gc.isenabled()
        finally:
            gc.enable()
        with cutaway.record(tmp_path):
            torch.compile(programs.squared, backend="eager")(numbers(3))
        assert gc.isenabled()


class TestSwappedCode:
    """``torch_internals.swap_code``: through whatever name a function is called."""

    def test_calls_go_through_and_return(self) -> None:
        def watched_function(a: int, /, b: int = 2, *rest: int, c: int, d: int = 4, **more: int) -> tuple[Any, ...]:
            return a, b, rest, c, d, more

        calls: list[tuple[Any, ...]] = []

        def handler(original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            calls.append((args, kwargs))
            return original(*args, **kwargs)

        copy, before = watched_function, watched_function.__code__
        undo = torch_internals.swap_code(watched_function, handler)
        assert copy(1, c=3) == (1, 2, (), 3, 4, {})
        assert copy(1, 5, 6, c=3, e=7) == (1, 5, (6,), 3, 4, {"e": 7})
        assert calls == [((1,), {"c": 3}), ((1, 5, 6), {"c": 3, "e": 7})]
        undo()
        assert watched_function.__code__ is before
        assert copy(1, c=3) == (1, 2, (), 3, 4, {})
        assert len(calls) == 2

    def test_swapped_back_by_somebody_else_meanwhile(self) -> None:
        """depyf swaps the same function: whoever ends first, the function works."""

        def function() -> str:
            return "original"

        def through(original: Any, args: Any, kwargs: Any) -> Any:
            return "ours " + original(*args, **kwargs)

        undo = torch_internals.swap_code(function, through)
        other, function.__code__ = function.__code__, (lambda: "theirs").__code__
        undo()
        assert function() == "theirs"
        function.__code__ = other
        assert function() == "original"


class TestPatchedMethods:
    def test_of_the_class_itself_and_inherited(self) -> None:
        class Base:
            def method(self) -> str:
                return "base"

        class Derived(Base):
            pass

        undo = torch_internals.patch_method(Derived, "method", lambda original: lambda self: "new " + original(self))
        assert (Derived().method(), Base().method()) == ("new base", "base")
        undo()
        assert "method" not in vars(Derived)
        assert Derived().method() == "base"

    def test_patched_by_somebody_else_meanwhile(self) -> None:
        class Owner:
            def method(self) -> str:
                return "own"

        undo = torch_internals.patch_method(Owner, "method", lambda original: lambda self: "ours " + original(self))
        theirs = Owner.method
        Owner.method = lambda self: "theirs " + theirs(self)
        undo()
        assert Owner().method() == "theirs ours own"


def test_tracing_by_somebody_else_is_untouched(tmp_path: Path) -> None:
    """tlparse's handler, which formats every payload, sees what it would see without us."""

    def traced(record: bool) -> list[str]:
        torch._dynamo.reset()
        seen: list[str] = []

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                metadata, payload = getattr(record, "metadata", {}), getattr(record, "payload", "")
                if "dynamo_output_graph" in metadata or "aot_inference_graph" in metadata:
                    seen.append(str(payload))

        handler, log = Handler(), logging.getLogger("torch.__trace")
        log.addHandler(handler)
        try:
            if record:
                with cutaway.record(tmp_path):
                    torch.compile(programs.doubled, backend="aot_eager")(numbers(3))
            else:
                torch.compile(programs.doubled, backend="aot_eager")(numbers(3))
        finally:
            log.removeHandler(handler)
        return seen

    without = traced(record=False)
    assert any("torch.ops.aten.mul" in payload for payload in without)
    assert traced(record=True) == without
    check(tmp_path)
