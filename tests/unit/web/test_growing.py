"""The page says `live` of what is being recorded, and of nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dump_maker import make_process, manifest

from cutaway.web.data import Library
from cutaway.web.data.growing import RECENT, is_growing

LONG_AGO = 1.0e9


def recording(folder: Path, pid: int = 1, since: float = LONG_AGO) -> Path:
    """A process that has not ended and has been silent for long."""
    make_process(folder, ended=False)
    events = manifest(folder)
    events[0] |= {"pid": pid, "time": since}
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    silent(folder)
    return folder


def silent(folder: Path) -> None:
    then = time.time() - 2 * RECENT
    os.utime(folder / "manifest.jsonl", (then, then))


def test_what_has_ended_does_not_grow(tmp_path: Path) -> None:
    make_process(tmp_path / "ended")
    assert not is_growing(tmp_path / "ended")


def test_what_wrote_a_moment_ago_does(tmp_path: Path) -> None:
    make_process(tmp_path / "running", ended=False)
    assert is_growing(tmp_path / "running")


def test_a_process_that_lives_may_be_silent(tmp_path: Path) -> None:
    assert is_growing(recording(tmp_path / "here", os.getpid(), time.time()))


def test_one_that_was_killed_does_not_grow(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert not is_growing(recording(tmp_path / "killed", gone.pid, time.time()))


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not say when a process was started")
def test_nor_does_another_that_has_its_number_now(tmp_path: Path) -> None:
    assert not is_growing(recording(tmp_path / "again", os.getpid(), LONG_AGO))


@pytest.mark.parametrize("text", [b"", b"\n", b"\xff\xfe\n", b"[" * 60_000 + b"\n", b'{"event": "run", "pid": -1}\n'])
def test_anything_may_stand_in_a_manifest(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(text)
    silent(tmp_path)
    assert not is_growing(tmp_path)
    assert not is_growing(tmp_path / "nothing")


def test_the_index_says_so_and_a_change_of_it_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "dump" / "run_001" / "rank_0_dp_0"
    make_process(folder, ended=False)
    library = Library(tmp_path / "dump")
    assert library.index(live=True).growing
    assert not library.index().growing
    names = library.names()
    recording_ended = (folder / "manifest.jsonl").read_text() + '{"seq": 999, "event": "end", "compilation": null}\n'
    (folder / "manifest.jsonl").write_text(recording_ended)
    assert not library.index(live=True).growing
    assert library.names() != names
