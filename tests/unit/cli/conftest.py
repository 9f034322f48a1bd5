"""Runs commands as a user does, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from dump_maker import make_dump

from cutaway.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(name="cutaway")
def _cutaway(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Ran:
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(name="dump")
def _dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dump that is called `dump`, seen from the current folder."""
    monkeypatch.chdir(tmp_path)
    make_dump(tmp_path / "dump", ranks=2)
    return "dump"


@pytest.fixture(name="process")
def _process(dump: str) -> Path:
    return Path(dump) / "run_001" / "rank_0_dp_0"
