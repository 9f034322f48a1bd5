"""What a recording left on the disk, read as plain files; and ways to run things apart."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cutaway.dump.verify import Finding, verify

HERE = Path(__file__).parent
Event = dict[str, Any]


@dataclass
class Recorded:
    """One process's folder."""

    folder: Path

    @property
    def events(self) -> list[Event]:
        text = (self.folder / "manifest.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def of(self, event: str, **facts: Any) -> list[Event]:
        """The events of a kind with these facts."""
        return [
            found
            for found in self.events
            if found["event"] == event and all(found.get(key) == value for key, value in facts.items())
        ]

    @property
    def compilations(self) -> list[str]:
        return [event["compilation"] for event in self.of("compilation")]

    def stages(self, compilation: str) -> list[str]:
        return [event["stage"] for event in self.of("snapshot", compilation=compilation)]

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    @property
    def announced(self) -> list[Event]:
        return [file for event in self.events for file in event.get("files", [])]

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def table(self, snapshot: Event) -> dict[str, Any]:
        return json.loads(self.read(f"nodes/{snapshot['graph']}.json"))


def recorded(path: Path, run: str = "run_001", process: str = "rank_0_dp_0") -> Recorded:
    return Recorded(path / run / process)


def check(path: Path) -> None:
    """Everything that any process announced is there, and `cutaway verify` finds nothing wrong."""
    check_announced(path)
    assert problems(path) == []


def check_announced(path: Path, but: tuple[str, ...] = ()) -> None:
    """Everything that any process announced is there with its digest, and every node table is what its name says.

    What failed half way may have left a file that nothing announces; ``but`` are further kinds of findings to allow.
    """
    for manifest in path.glob("run_*/*/manifest.jsonl"):
        if not manifest.stat().st_size:
            continue  # refused from the first line on
        for file in Recorded(manifest.parent).announced:
            content = (manifest.parent / file["path"]).read_bytes()
            assert len(content) == file["bytes"], file
            assert blake2b(content, digest_size=16).hexdigest() == file["digest"], file
        wrong = [finding for finding in problems(manifest.parent) if finding.kind not in ("unannounced", *but)]
        assert wrong == []


def problems(path: Path) -> list[Finding]:
    """What `cutaway verify` finds wrong."""
    return [finding for report in verify(path) for finding in report.findings if finding.level == "problem"]


def in_child(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in a forked child and return what it returns; what it raises fails the test."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = (True, function(*args))
        except BaseException:  # noqa: BLE001  (handed over, whatever it is)
            answer = (False, traceback.format_exc())
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}"
    fine, answer = pickle.loads(content)
    assert fine, answer
    return answer


def start_child(function: Callable[..., Any], *args: Any) -> int:
    """Run a function in a forked child that nobody waits for; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            function(*args)
        finally:
            os._exit(0)
    return child


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own that ends well, or what it said."""
    done = process(*arguments, **environment)
    assert done.returncode == 0, f"{done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, which finds the programs here."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, *arguments], env=variables, capture_output=True, text=True, timeout=240, check=False
    )
