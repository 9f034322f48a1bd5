"""Watched methods of a host: called as they were, whatever the watcher does."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cutaway.record.recorder import Recorder
from cutaway.record.settings import Settings
from cutaway.record.watch import Watcher


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("an_engine")

    class Manager:
        def compile(self, graph: str, *, size: int = 1) -> str:
            """Compiles."""
            if graph == "broken":
                raise LookupError(graph)
            return f"{graph}:{size}"

        @staticmethod
        def static(x: int) -> int:
            return x + 1

        @classmethod
        def make(cls, x: int) -> tuple[type, int]:
            return cls, x

    module.Manager = Manager  # type: ignore[attr-defined]
    module.function = lambda x: x * 2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "an_engine", module)
    return module


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(Settings(tmp_path / "dump"))


def test_calls_go_through_and_are_seen(engine: Any, recorder: Recorder) -> None:
    seen: list[Any] = []

    @contextmanager
    def place(manager: Any, graph: str, **options: Any) -> Iterator[None]:
        seen.append(("in", graph))
        yield
        seen.append(("out", graph))

    def after(result: str, manager: Any, graph: str, **options: Any) -> None:
        seen.append((result, options))

    Watcher(recorder).watch("an_engine:Manager", "compile", place=place, after=after)
    assert engine.Manager().compile("g", size=3) == "g:3"
    assert seen == [("in", "g"), ("g:3", {"size": 3}), ("out", "g")]
    assert engine.Manager.compile.__doc__ == "Compiles."


@pytest.mark.parametrize(
    ("where", "name", "call", "result"),
    [
        ("an_engine:Manager", "static", lambda engine: engine.Manager.static(1), 2),
        ("an_engine:Manager", "make", lambda engine: engine.Manager.make(1)[1], 1),
        ("an_engine", "function", lambda engine: engine.function(2), 4),
    ],
)
def test_functions_of_every_kind(
    engine: Any, recorder: Recorder, where: str, name: str, call: Any, result: Any
) -> None:
    seen: list[Any] = []
    Watcher(recorder).watch(where, name, after=lambda found, *args: seen.append(found))
    assert call(engine) == result
    assert len(seen) == 1


def test_a_name_that_is_missing_is_noted(engine: Any, recorder: Recorder) -> None:
    watcher = Watcher(recorder)
    watcher.watch("an_engine:Manager", "compiled")
    watcher.watch("an_engine:Boss", "compile")
    watcher.watch("no_engine", "function")
    assert watcher.missing == ["an_engine.Manager.compiled", "an_engine.Boss.compile", "no_engine.function"]


class TestWatchersThatFail:
    def call(self, engine: Any, **watchers: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert engine.Manager().compile("g") == "g:1"
            with pytest.raises(LookupError, match="broken"):
                engine.Manager().compile("broken")
        return [str(warning.message) for warning in caught]

    def test_before_the_call(self, engine: Any, recorder: Recorder) -> None:
        def place(*args: Any, **options: Any) -> Any:
            raise RuntimeError("injected")

        Watcher(recorder).watch("an_engine:Manager", "compile", place=place)
        (text,) = self.call(engine)
        assert "recording failed in place" in text

    @pytest.mark.parametrize("entering", [True, False])
    def test_entering_and_leaving(self, engine: Any, recorder: Recorder, entering: bool) -> None:
        @contextmanager
        def place(*args: Any, **options: Any) -> Iterator[None]:
            if entering:
                raise RuntimeError("injected")
            try:
                yield
            finally:
                raise RuntimeError("injected")

        Watcher(recorder).watch("an_engine:Manager", "compile", place=place)
        (text,) = self.call(engine)
        assert "injected" in text

    def test_an_interrupt_while_leaving_is_the_programs(self, engine: Any, recorder: Recorder) -> None:
        @contextmanager
        def place(*args: Any, **options: Any) -> Iterator[None]:
            yield
            raise KeyboardInterrupt

        Watcher(recorder).watch("an_engine:Manager", "compile", place=place)
        with pytest.raises(KeyboardInterrupt):
            engine.Manager().compile("g")

    def test_after_the_call(self, engine: Any, recorder: Recorder) -> None:
        def after(*args: Any, **options: Any) -> None:
            raise RuntimeError("injected")

        Watcher(recorder).watch("an_engine:Manager", "compile", after=after)
        (text,) = self.call(engine)
        assert "recording failed in after" in text

    def test_nothing_is_asked_when_nothing_is_recorded_any_more(self, engine: Any, recorder: Recorder) -> None:
        seen: list[str] = []
        Watcher(recorder).watch(
            "an_engine:Manager",
            "compile",
            place=lambda *args, **options: seen.append("place"),
            after=lambda *args, **options: seen.append("after"),
        )
        recorder.disabled = True
        assert self.call(engine) == []
        assert seen == []
