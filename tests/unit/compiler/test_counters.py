"""Counters hold what happened to a budget; the progress bar counts on a terminal and is silent elsewhere."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from cutaway.compiler import progress
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.progress import Progress
from cutaway.errors import CompileError


def test_what_was_expected_passes() -> None:
    counters = CompilationCounter(backend_compilations=5)
    with counters.expect(backend_compilations=2, artifacts_loaded=0):
        counters.backend_compilations += 2
        counters.pieces_seen += 9  # not named: as often as it likes


def test_all_that_differs_is_named() -> None:
    counters = CompilationCounter()

    def happen() -> None:
        with counters.expect(backend_compilations=0, pieces_seen=4, graphs_seen=0):
            counters.backend_compilations += 1
            counters.pieces_seen += 3

    with pytest.raises(CompileError, match=r"backend_compilations 1 \(expected 0\), pieces_seen 3 \(expected 4\)"):
        happen()


def test_an_exception_inside_goes_through() -> None:
    with pytest.raises(ZeroDivisionError), CompilationCounter().expect(graphs_seen=1):
        raise ZeroDivisionError


def test_there_is_no_such_counter() -> None:
    with pytest.raises(AttributeError, match="graphs_sen"), CompilationCounter().expect(graphs_sen=1):
        pass


@dataclass
class Happened:
    kind: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_of_pieces_compiled_and_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SLOW", -1.0)
    terminal = Terminal()
    bar = Progress(True, terminal)
    bar.begin(4)
    for kind in ("miss", "store", "load", "built"):
        bar.advance(Happened(kind))
    assert terminal.getvalue().count("\r") == 3
    assert "3/4: 2 compiled, 1 cached" in terminal.getvalue()
    bar.end()
    assert terminal.getvalue().endswith("\r\033[K")


@pytest.mark.parametrize(("wanted", "stream"), [(True, io.StringIO()), (False, Terminal())])
def test_nobody_else_is_told_anything(monkeypatch: pytest.MonkeyPatch, wanted: bool, stream: io.StringIO) -> None:
    monkeypatch.setattr(progress, "_SLOW", -1.0)
    bar = Progress(wanted, stream)
    bar.begin(1)
    bar.advance(Happened("store"))
    bar.end()
    assert stream.getvalue() == ""
