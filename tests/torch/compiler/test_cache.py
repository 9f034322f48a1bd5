"""The manager: what is compiled, what is loaded, what is refused, alone and with other processes."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.cache_tools import (
    Piece,
    SourceCompiler,
    SourcePiece,
    cached,
    files_of,
    run,
    scaled,
    several,
    source_of,
)
from recordings import kill, start_child

from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.interface import Compiled, Task
from cutaway.compiler.build.ranges import Range

FORMS = ("binary", "unpacked")
X = torch.arange(1.0, 25.0).reshape(3, 8)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def seen() -> Any:
    """Warnings that were given, as text."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *rest: texts.append(str(message))
        yield texts


class TestOneProcess:
    def test_compiles_what_is_not_there_and_the_next_one_loads_it(self, tmp_path: Path, form: str) -> None:
        cold = cached(tmp_path, cache_format=form)
        with cold.counters.expect(backend_compilations=1, artifacts_saved=1, artifacts_loaded=0, artifacts_refused=0):
            one = cold.compile(scaled())[0]
        warm = cached(tmp_path, cache_format=form)
        with warm.counters.expect(backend_compilations=0, artifacts_saved=0, artifacts_loaded=1, artifacts_refused=0):
            other = warm.compile(scaled())[0]
        assert (cold.kinds, warm.kinds) == (["miss", "store"], ["load"])
        assert one.key == other.key
        assert torch.equal(run(one), X * 3)
        assert torch.equal(run(other), X * 3)

    def test_says_what_it_did(self, tmp_path: Path) -> None:
        cold = cached(tmp_path, SourceCompiler(before=lambda task: time.sleep(0.02)))
        built = cold.compile(scaled(name="piece_07"))[0]
        miss, store = cold.events
        assert (store.name, store.range, store.key, store.reason) == ("piece_07", "1_64", built.key, "")
        assert (miss.factors, miss.seconds) == (store.factors, 0.0)
        assert store.seconds >= 0.02
        assert list(store.factors) == [
            "graph", "inputs", "range", "options", "compiler", "config", "torch", "environment", "cutaway",
            "custom_ops", "ir",
        ]  # fmt: skip
        store_of = cold.manager.store
        assert store_of is not None
        assert store_of.factors(built.key) == store.factors
        entry = store_of.get(built.key)
        assert entry is not None
        assert entry.facts == {
            "compiler": "source", "piece": "piece_07", "range": "1_64", "seconds": round(store.seconds, 3),
            "identity": cold.manager.identities[built.key],
        }  # fmt: skip

    def test_compiles_equal_pieces_once(self, tmp_path: Path) -> None:
        one = cached(tmp_path)
        first, second, other = one.compile(scaled(name="a"), scaled(name="b"), scaled(3.0))
        assert one.kinds == ["miss", "store", "hit", "miss", "store"]
        assert first.runnable is second.runnable
        assert first.key == second.key != other.key
        assert one.compile(scaled())[0].runnable is first.runnable

    def test_compiles_each_range(self, tmp_path: Path) -> None:
        spans = [Range(1, 64), Range(65, 128), Range(64, 64, is_single_size=True), Range(64, 64)]
        keys = {built.key for built in cached(tmp_path).compile(*(scaled(span=span) for span in spans))}
        assert len(keys) == 4

    def test_compiles_one_task(self, tmp_path: Path) -> None:
        assert torch.equal(run(cached(tmp_path).manager.compile(scaled())), X * 3)
        assert cached(tmp_path).compile() == []

    def test_finds_what_a_key_names(self, tmp_path: Path) -> None:
        key = cached(tmp_path).compile(scaled())[0].key
        warm = cached(tmp_path)
        found = warm.manager.load(key)
        assert found is not None
        assert torch.equal(found(3, X)[0], X * 3)
        assert warm.manager.load(key) is found
        assert [warm.manager.load(other) for other in ("", "0" * 64, "no key")] == [None, None, None]
        assert warm.kinds == ["load", "hit"]
        assert warm.counters.artifacts_loaded == 1

    @pytest.mark.parametrize("off", [{"disable_cache": True}, {"off": {"cache"}}])
    def test_keeps_nothing_when_the_cache_is_off(self, tmp_path: Path, off: dict[str, Any]) -> None:
        for _ in range(2):
            one = cached(tmp_path / "cache", **off)
            one.compile(scaled(), scaled())
            assert one.kinds == ["miss", "built", "hit"]
        assert not (tmp_path / "cache").exists()

    def test_needs_no_store(self) -> None:
        one = cached(None)
        assert torch.equal(run(one.compile(scaled())[0]), X * 3)
        assert one.events[-1].reason == "there is no cache"

    def test_shares_pieces_of_a_compiler_that_keeps_nothing(self, tmp_path: Path) -> None:
        one = cached(tmp_path, EagerCompiler())
        first, second = one.compile(scaled(), scaled())
        assert first.runnable is second.runnable
        assert one.kinds == ["miss", "built", "hit"]
        assert torch.equal(run(first), X * 3)
        assert list(tmp_path.rglob("*.json")) == []

    def test_passes_on_what_the_compiler_raises(self, tmp_path: Path) -> None:
        def fail(task: Task) -> None:
            raise ZeroDivisionError("from the compiler")

        with pytest.raises(ZeroDivisionError, match="from the compiler"):
            cached(tmp_path, SourceCompiler(before=fail)).compile(scaled())
        assert torch.equal(run(cached(tmp_path).compile(scaled())[0]), X * 3)

    def test_runs_what_cannot_be_saved(self, tmp_path: Path, seen: list[str]) -> None:
        class Unsaved(SourcePiece):
            def save(self, folder: Path, form: str) -> bool:
                (folder / "half").write_text("")
                raise RuntimeError("no way to save")

        class Compiler(SourceCompiler):
            def compile(self, task: Task) -> Compiled:
                return Unsaved(source_of(task))

        one = cached(tmp_path, Compiler())
        assert torch.equal(run(one.compile(scaled())[0]), X * 3)
        assert one.kinds == ["miss", "built"]
        assert len(seen) == 1
        assert "no way to save" in seen[0]
        assert files_of(tmp_path) == {}

    def test_runs_what_has_no_key(self, tmp_path: Path) -> None:
        def task() -> Task:
            piece = Piece()
            x = piece.x()
            return piece.task(piece.call(torch.mul, x, 2.0), generator=torch.Generator())

        one = cached(tmp_path)
        first, second = one.compile(task(), task())
        assert (first.key, second.key) == ("", "")
        assert one.kinds == ["bypass", "bypass", "built", "built"]
        assert "Generator" in one.events[0].reason
        assert first.runnable is not second.runnable
        assert torch.equal(run(first), X * 2)
        assert list(tmp_path.rglob("*.json")) == []

    def test_takes_the_key_before_the_graph_is_used_up(self, tmp_path: Path) -> None:
        def use_up(task: Task) -> None:
            for node in task.graph.graph.nodes:
                if node.target is torch.mul:
                    node.args = (node.args[0], 7.0)
            task.graph.recompile()

        cold = cached(tmp_path, SourceCompiler(before=use_up)).compile(scaled())[0]
        assert cached(tmp_path).compile(scaled())[0].key == cold.key


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 3])
    else:
        path.write_bytes(bytes([content[0] ^ 0x10]) + content[1:])


class TestADamagedArtifact:
    @pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "missing"])
    def test_is_compiled_anew_with_one_warning_that_names_it(
        self, tmp_path: Path, form: str, how: str, seen: list[str]
    ) -> None:
        cached(tmp_path, cache_format=form).compile(scaled())
        whole = files_of(tmp_path)
        assert len(whole) == 4
        for name in whole:
            del seen[:]
            damage(tmp_path / name, how)
            again = cached(tmp_path, cache_format=form)
            gone = how == "missing" and name.endswith(f"{form}.json")
            with again.counters.expect(backend_compilations=1, artifacts_refused=0 if gone else 1, artifacts_saved=1):
                assert torch.equal(run(again.compile(scaled(), scaled())[0]), X * 3)
            if gone:
                assert (again.kinds, seen) == (["miss", "store", "hit"], [])
                continue
            assert again.kinds == ["refused", "miss", "store", "hit"]
            assert [str(tmp_path / name) in text for text in seen] == [True]
            assert str(tmp_path / name) in again.events[0].reason
            last = cached(tmp_path, cache_format=form)
            last.compile(scaled())
            assert last.kinds == ["load"]
        assert {name: text for name, text in files_of(tmp_path).items() if "edited" not in name}.keys() == whole.keys()

    def test_that_the_compiler_cannot_load_is_compiled_anew(self, tmp_path: Path, seen: list[str]) -> None:
        class Strict(SourceCompiler):
            def load(self, folder: Path, form: str) -> Any:
                raise AssertionError("made by another build")

        key = cached(tmp_path).compile(scaled())[0].key
        one = cached(tmp_path, Strict())
        assert one.manager.load(key) is None
        assert len(seen) == 1
        assert re.search(r"binary\.json: it cannot be loaded \(AssertionError: made by another build\)", seen[0])
        assert (one.kinds, one.counters.artifacts_refused) == (["refused"], 1)

    def test_in_a_cache_that_is_only_read_is_compiled_each_time(self, tmp_path: Path, seen: list[str]) -> None:
        cached(tmp_path).compile(scaled())
        damage(next(path for path in (tmp_path / "v1/objects").rglob("*") if path.is_file()), "flipped")
        before = files_of(tmp_path)
        for _ in range(2):
            one = cached(tmp_path, read_only=True)
            assert torch.equal(run(one.compile(scaled())[0]), X * 3)
            assert one.kinds == ["refused", "miss", "built"]
            assert one.events[-1].reason == "the cache is not written to"
        assert len(seen) == 2
        assert files_of(tmp_path) == before


class TestTheFolder:
    def test_may_be_moved_and_only_read(self, tmp_path: Path, form: str) -> None:
        cached(tmp_path / "one", cache_format=form).compile(*several(3))
        (tmp_path / "one").rename(tmp_path / "two")
        warm = cached(tmp_path / "two", read_only=True, cache_format=form)
        with warm.counters.expect(backend_compilations=0, artifacts_loaded=3):
            warm.compile(*several(3))
        assert warm.kinds == ["load"] * 3

    def test_that_cannot_be_made_costs_one_warning(self, tmp_path: Path, seen: list[str]) -> None:
        (tmp_path / "file").write_text("")
        one = cached(tmp_path / "file" / "cache")
        with one.counters.expect(backend_compilations=3, artifacts_saved=0):
            assert torch.equal(run(one.compile(*several(3))[0]), X * 3)
        assert ["nothing is written to the cache" in text for text in seen] == [True]

    def test_holds_both_forms(self, tmp_path: Path) -> None:
        keys = {cached(tmp_path, cache_format=form).compile(scaled())[0].key for form in FORMS}
        assert len(keys) == 1
        for form in FORMS:
            warm = cached(tmp_path, cache_format=form)
            warm.compile(scaled())
            assert warm.kinds == ["load"]


class TestAnEdit:
    def edited(self, root: Path) -> Path:
        cached(root, cache_format="unpacked").compile(scaled())
        return next((root / "v1/unpacked").rglob("code.py"))

    def test_takes_effect_on_the_next_load(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = self.edited(tmp_path)
        path.write_text(path.read_text().replace("2.0", "9.0"))
        with caplog.at_level(logging.INFO, "cutaway"):
            warm = cached(tmp_path, cache_format="unpacked")
            assert torch.equal(run(warm.compile(scaled())[0]), X * 10)
        assert warm.kinds == ["load"]
        assert warm.events[0].reason == "edited: code.py"
        assert [record.levelname for record in caplog.records if str(path) in record.message] == ["INFO"]
        only_read = cached(tmp_path, read_only=True, cache_format="unpacked")
        assert torch.equal(run(only_read.compile(scaled())[0]), X * 10)

    def test_that_is_no_python_is_compiled_anew_and_kept_aside(self, tmp_path: Path, seen: list[str]) -> None:
        path = self.edited(tmp_path)
        path.write_text("def (")
        again = cached(tmp_path, cache_format="unpacked")
        assert torch.equal(run(again.compile(scaled())[0]), X * 3)
        assert again.kinds == ["refused", "miss", "store"]
        assert len(seen) == 1
        assert f"{path}: it cannot be loaded (SyntaxError" in seen[0]
        assert [kept.read_text() for kept in path.parent.glob("*.edited")] == ["def ("]
        warm = cached(tmp_path, cache_format="unpacked")
        warm.compile(scaled())
        assert warm.kinds == ["load"]


class TestSeveralProcesses:
    def test_compile_each_piece_exactly_once_and_share_the_work(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        children = [start_child(_compile_several, tmp_path, log, 12, _until_all_compile(tmp_path, 4)) for _ in range(4)]
        for child in children:
            os.waitpid(child, 0)
        assert len(list(tmp_path.glob("fine-*"))) == 4
        compiled = [line.split() for line in log.read_text().splitlines()]
        assert sorted(name for name, _ in compiled) == [f"piece_{index:02d}" for index in range(12)]
        assert len({process for _, process in compiled}) == 4

    def test_wait_for_no_other_when_the_cache_is_only_read(self, tmp_path: Path) -> None:
        cached(tmp_path).compile(scaled(5.0))
        with cached(tmp_path).manager.store.locked("0" * 64, wait=False):  # type: ignore[union-attr]
            one = cached(tmp_path, read_only=True)
            one.compile(scaled())
        assert one.kinds == ["miss", "built"]

    def test_take_over_from_one_that_is_killed_while_it_compiles(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        child = start_child(_compile_several, tmp_path, log, 1, _slowly(60.0))
        while not log.exists():
            time.sleep(0.01)
        waiting = start_child(_compile_several, tmp_path, log, 1, _slowly(0.05))
        time.sleep(0.1)
        kill(child)
        os.waitpid(waiting, 0)
        assert len(log.read_text().splitlines()) == 2
        assert len(list(tmp_path.glob("fine-*"))) == 1

    @pytest.mark.parametrize("after", [0.0, 0.002, 0.005, 0.01, 0.02])
    def test_find_nothing_damaged_after_one_was_killed_while_it_saved(
        self, tmp_path: Path, form: str, after: float
    ) -> None:
        log = tmp_path / "log"
        child = start_child(_compile_many, tmp_path, log, form)
        while not log.exists() or len(log.read_text().splitlines()) < 3:
            time.sleep(0.001)
        time.sleep(after)
        kill(child)
        again = cached(tmp_path / "cache", cache_format=form)
        built = again.compile(*several(20))
        assert again.counters.artifacts_refused == 0
        assert again.counters.artifacts_loaded >= 2
        assert all(torch.equal(run(one), X * (index + 3)) for index, one in enumerate(built))


def _compile_several(root: Path, log: Path, number: int, before: Callable[[Task], Any]) -> None:
    one = cached(root / "cache", SourceCompiler(log, before=before))
    built = one.compile(*several(number))
    assert all(torch.equal(run(piece), X * (index + 3)) for index, piece in enumerate(built))
    assert one.counters.backend_compilations + one.counters.artifacts_loaded == number
    (root / f"fine-{os.getpid()}").touch()


def _until_all_compile(root: Path, processes: int) -> Callable[[Task], None]:
    """Each holds its first piece until every process has one, so that one that starts late finds work left."""

    def wait(_task: Task) -> None:
        (root / f"compiles-{os.getpid()}").touch()
        until = time.monotonic() + 60
        while len(list(root.glob("compiles-*"))) < processes and time.monotonic() < until:
            time.sleep(0.01)

    return wait


def _slowly(seconds: float) -> Callable[[Task], None]:
    return lambda _task: time.sleep(seconds)


def _compile_many(root: Path, log: Path, form: str) -> None:
    cached(root / "cache", SourceCompiler(log), cache_format=form).compile(*several(20))
