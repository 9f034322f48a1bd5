"""What the README tells people to type works on a recording of the real vLLM."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from vllm_runs import Finished

from cutaway.cli import main
from cutaway.dump import load

README = Path(__file__).parents[2] / "README.md"
READ_ONLY = ("ls", "show", "diff", "find", "lineage", "compare", "why")


def commands() -> list[str]:
    """Its commands that read a dump, without the remarks."""
    found = re.findall(r"^    cutaway ((?:\w+ )+?dump\b.*?)(?:\s+#.*)?$", README.read_text(), re.MULTILINE)
    return [command for command in found if command.split()[0] in READ_ONLY and "fusion" not in command]


def test_there_are_some() -> None:
    assert {command.split()[0] for command in commands()} == set(READ_ONLY)


@pytest.mark.parametrize("command", commands())
def test_it_works(command: str, recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(recorded.dump) if word in ("dump", "other") else word for word in shlex.split(command)]
    assert main(words) in (0, 1)
    told = capsys.readouterr()
    assert told.out.strip()
    assert "error:" not in told.err


def test_the_piece_that_is_replayed_is_there(recorded: Finished) -> None:
    (selector,) = re.findall(r"cutaway replay dump (\S+)", README.read_text())
    piece, _, stage = selector.split("/")
    names = [snapshot.selector for snapshot in load(recorded.dump).snapshots.values()]
    assert [name for name in names if name.startswith(f"backbone/{piece}/") and name.endswith(f"/{stage}")]
