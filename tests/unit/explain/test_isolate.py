"""The command as a user runs it, on a program whose parts are switched as torch's and ours are: by the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli import main
from cutaway.errors import IsolateError
from cutaway.explain.trial import vllm

PROGRAM = """\
import os, sys, time
off = os.environ.get("CUTAWAY_TRIAL_OFF", "").split(",")
part, fault = sys.argv[1:3]
if fault == "sleep":
    time.sleep(0.4)
if fault == "slow" and part not in off:
    time.sleep(5)
if part == "none" or part in off or fault == "slow":
    print("loss: 1.0")
elif fault == "crash":
    raise RuntimeError("the kernel is wrong")
elif fault == "signal":
    os.kill(os.getpid(), 11)
else:
    print("loss: 2.0")
"""


@pytest.fixture(name="program")
def _program(tmp_path: Path) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path)]


def isolate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = main(["isolate", "--json", "--part-only", *arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


LOSS = ("--check", r"loss: (\S+)")


@pytest.mark.parametrize("part", ["caches", "inductor", "eager"])
def test_the_part_is_named(part: str, program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = isolate(capsys, *LOSS, "--output", str(tmp_path / "o"), "--", *program, part, "value")
    assert (code, found["outcome"], found["part"]) == (1, "found", part)
    assert found["fault"] == "it prints 2, and 1 in eager (tolerance 0.0001)"
    assert found["chance"] < 0.12
    assert (tmp_path / "o" / "report.md").is_file()


@pytest.mark.parametrize(("fault", "words"), [("crash", "RuntimeError: the kernel is wrong"), ("signal", "SIGSEGV")])
def test_crashes(
    fault: str, words: str, program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found, _ = isolate(capsys, "--output", str(tmp_path / "o"), "--", *program, "inductor", fault)
    assert found["part"] == "inductor"
    assert found["fault"].startswith(words)


def test_slowness(program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = isolate(capsys, "--slow", "run", "--output", str(tmp_path / "o"), "--", *program, "passes", "slow")
    assert (found["outcome"], found["part"]) == ("found", "passes")
    assert found["sentence"] == "Most of the time goes to the custom passes."
    took = {rung["part"]: min(rung["took"]) for rung in found["rungs"]}
    assert took[None] > 5 > took["eager"]


def test_what_is_right_can_be_said(program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*LOSS, "--expect", "1.5", "--output", str(tmp_path / "o"), "--", *program, "none", "value")
    code, found, _ = isolate(capsys, *arguments)
    assert (code, found["outcome"]) == (1, "own")
    assert "1.5 in what is expected" in found["sentence"]


def test_no_fault(program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = isolate(capsys, *LOSS, "--output", str(tmp_path / "o"), "--", *program, "none", "value")
    assert (code, found["outcome"]) == (0, "none")
    assert found["trials"] == 4  # three with everything on, and eager


def test_the_text_says_what_to_do(program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["isolate", "--part-only", *LOSS, "--output", str(tmp_path / "o"), "--", *program, "passes", "value"])
    captured = capsys.readouterr()
    assert captured.out.startswith("At fault: the custom passes.\n")
    assert "Meanwhile: leave torch._inductor.config.post_grad_custom_*_pass at None" in captured.out
    assert f"Attach: {tmp_path / 'o' / 'report.md'}" in captured.out
    assert "isolate: everything on ..." in captured.err


def test_a_folder_is_not_used_twice(program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*LOSS, "--output", str(tmp_path / "o"), "--", *program, "none", "value")
    isolate(capsys, *arguments)
    code, _, errors = isolate(capsys, *arguments)
    assert code == 2
    assert "holds a search already" in errors


def test_after_a_first_trial_that_told_nothing_the_folder_is_free(
    program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ("--output", str(tmp_path / "o"))
    assert isolate(capsys, "--check", "not printed", *output, "--", *program, "passes", "value")[0] == 2
    code, found, _ = isolate(capsys, *LOSS, *output, "--", *program, "passes", "value")
    assert (code, found["part"]) == (1, "passes")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is nothing to isolate"),
        (["--resume"], "there is no search to go on with"),
        (["--expect", "1", "--", "x"], "--expect needs --check"),
        (["--check", "(", "--", "x"], "is no regular expression"),
        (["--budget", "0", "--", "x"], "--budget is 0"),
        (["--prompt", "a", "--", "x"], "--prompt is for vllm"),
        (["--", "no-such-program"], "'no-such-program' cannot be run"),
    ],
)
def test_bad_use_is_answered(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, errors = isolate(capsys, "--output", str(tmp_path / "o"), *arguments)
    assert code == 2
    assert words in errors


def test_vllm_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda _: None)
    with pytest.raises(IsolateError, match="vLLM is not installed in this Python"):
        vllm.VllmTrial(["--model", "x"], folder=tmp_path, limit=1)


def test_the_budget_holds_and_what_is_known_is_told(
    program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*LOSS, "--budget", "0.02", "--output", str(tmp_path / "o"), "--", *program, "passes", "sleep")
    code, found, _ = isolate(capsys, *arguments)
    assert (code, found["stopped"]) == (1, "out of time")
    assert found["resume"] == f"cutaway isolate --resume --output {tmp_path / 'o'}"
    assert found["outcome"] in ("between", "unknown")
    code, found, _ = isolate(capsys, "--resume", "--output", str(tmp_path / "o"))
    assert (found["part"], found["stopped"], found["resume"]) == ("passes", None, None)
    assert found["trials"] == 6


def test_interrupted_it_tells_what_it_knows_leaves_nothing_and_goes_on(program: list[str], tmp_path: Path) -> None:
    output = tmp_path / "o"
    command = [sys.executable, "-m", "cutaway.cli", "isolate", "--part-only"]
    arguments = [*LOSS, "--output", str(output), "--", *program, "passes", "sleep"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    search = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    journal = output / "trials.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (journal.exists() and len(journal.read_text().splitlines()) >= 2):
        time.sleep(0.02)
    search.send_signal(signal.SIGINT)
    out, errors = search.communicate(timeout=60)
    assert search.returncode == 130, errors
    assert "It was stopped: interrupted. Go on with: cutaway isolate --resume" in out
    assert _running(program[1]) == []
    seen = len(journal.read_text().splitlines())
    done = subprocess.run(
        [*command, "--resume", "--output", str(output)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.startswith("At fault: the custom passes.\n"), done.stderr
    assert len(journal.read_text().splitlines()) == 6 > seen
    assert not any((output / "trials").glob("*/caches"))


def test_a_torn_journal_is_read_as_far_as_it_goes(
    program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "o")
    isolate(capsys, *LOSS, "--output", output, "--", *program, "passes", "value")
    journal = tmp_path / "o" / "trials.jsonl"
    journal.write_text(journal.read_text()[:-40])
    _, found, _ = isolate(capsys, "--resume", "--output", output)
    assert found["part"] == "passes"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_that_cannot_be_written_to_is_said(
    program: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    code, _, errors = isolate(capsys, "--output", str(tmp_path / "o"), "--", *program, "none", "value")
    assert code == 2
    assert "nothing can be written to" in errors


def test_a_disk_that_is_full_is_said(program: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is full")
    code, _, errors = isolate(capsys, "--output", "/dev/full/o", "--", *program, "none", "value")
    assert code == 2
    assert "nothing can be written to" in errors


def test_a_disk_that_fills_up_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is full")
    code = "with open('/dev/full', 'w') as file: file.write('x' * 100)"
    code_, _, errors = isolate(capsys, "--output", str(tmp_path / "o"), "--", sys.executable, "-c", code)
    assert code_ == 2
    assert "error: a disk is full" in errors
    assert "--resume" in errors


def _running(script: str) -> list[str]:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if script.encode() in path.read_bytes().split(b"\0")[:2]:
                found.append(path.parent.name)
        except OSError:
            continue
    return found
