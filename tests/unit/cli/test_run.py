"""`cutaway run`: the program runs as always, and its processes know where to record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PRINT = "import os; print(os.environ['CUTAWAY_DUMP'], os.environ['CUTAWAY_RUN'], os.environ.get('CUTAWAY'))"
RECORD = """
import os, sys
from pathlib import Path
root, run = os.environ["CUTAWAY_RUN"].split(os.pathsep)
folder = Path(root, run, "rank_0_dp_0")
folder.mkdir(parents=True)
(folder / "manifest.jsonl").write_text("")
"""


def cutaway_run(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cutaway.cli", "run", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        env={**os.environ, "CUTAWAY": "0"},
        input="typed\n",
    )


def test_where_the_program_records(tmp_path: Path) -> None:
    ran = cutaway_run("--", sys.executable, "-c", PRINT, cwd=tmp_path)
    root = tmp_path / "cutaway-dump"
    assert ran.stdout == f"{root} {root}{os.pathsep}run_001 None\n"


def test_input_output_and_arguments_are_the_programs_own(tmp_path: Path) -> None:
    program = "import sys; print(sys.argv[1:], input()); sys.exit(7)"
    ran = cutaway_run("--dump", "d", "--", sys.executable, "-c", program, "--dump", "--help", cwd=tmp_path)
    assert ran.stdout == "['--dump', '--help'] typed\n"
    assert ran.returncode == 7


def test_nothing_recorded_leaves_nothing_behind(tmp_path: Path) -> None:
    ran = cutaway_run("--", "true", cwd=tmp_path)
    assert "nothing was recorded" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_to_do_next(tmp_path: Path) -> None:
    ran = cutaway_run("--dump", "d", "--", sys.executable, "-c", RECORD, cwd=tmp_path)
    assert ran.returncode == 0
    assert f"recorded to {tmp_path / 'd' / 'run_001'} (1 process)" in ran.stderr
    assert "cutaway ls d " in ran.stderr


def test_json(tmp_path: Path) -> None:
    ran = cutaway_run("--dump", "d", "--json", "--", sys.executable, "-c", RECORD, cwd=tmp_path)
    assert json.loads(ran.stderr) == {
        "dump": str(tmp_path / "d"),
        "run": "run_001",
        "processes": ["rank_0_dp_0"],
        "exit_code": 0,
    }


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    for name in ("run_001", "run_002"):
        ran = cutaway_run("--dump", "d", "--json", "--", sys.executable, "-c", RECORD, cwd=tmp_path)
        assert json.loads(ran.stderr)["run"] == name


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = cutaway_run("--dump", "file", "--", "true", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: nothing can be recorded to ")


def test_a_program_that_a_signal_ended(tmp_path: Path) -> None:
    ran = cutaway_run("--", "sh", "-c", "kill -TERM $$", cwd=tmp_path)
    assert ran.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_program(tmp_path: Path, number: signal.Signals) -> None:
    program = f"""
import signal, sys, time
signal.signal({int(number)}, lambda *_: sys.exit(42))
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-m", "cutaway.cli", "run", "--", sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(number)
        assert parent.wait(30) == 42
