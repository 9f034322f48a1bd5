"""Programs that are started twice, and what their recordings hold of that."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
import torch._dynamo
from programs import numbers
from recordings import Event, Recorded, recorded
from torch._dynamo.utils import counters

import cutaway
from cutaway.record.kept import file

Program = Callable[[], Any]


@contextmanager
def another_cache(path: Path, tag: str) -> Generator[None]:
    """torch's caches in this folder, with nothing in them that another test compiled."""
    with pytest.MonkeyPatch.context() as patch, torch.compiler.config.patch(cache_key_tag=tag):  # pyright: ignore[reportAttributeAccessIssue]
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(path))
        yield


def start(path: Path, program: Program, **options: Any) -> Recorded:
    """Record a program in a process that has compiled nothing yet, as far as torch knows."""
    torch._dynamo.reset()
    counters.clear()
    with cutaway.record(path, **options):
        program()
    return recorded(path)


def tree(recording: Recorded) -> dict[str, str]:
    """Every file but those of the run itself and Dynamo's guards, which it numbers through the process.

    Of a page, what does not say where it comes from, nor how long it took: what AOTAutograd does is done again where
    only Inductor's cache has something.
    """
    but = ("manifest.jsonl", "context.json", "98.guards.txt")
    texts = {name: recording.read(name) for name in recording.files if name.rpartition("/")[2] not in but}
    return {
        name: "".join(_untimed(line) for line in text.splitlines(True) if not line.startswith("- not compiled now"))
        if name.endswith("index.md")
        else text
        for name, text in texts.items()
    }


def _untimed(line: str) -> str:
    """A row of a page's table without its milliseconds, which also set the width of their column."""
    return re.sub(r"[ -]{2,}", " ", re.sub(r"\| *\d+\.\d \|", "| |", line)) if line.startswith("|") else line


OF_A_RUN = ("seq", "time", "ms", "cached", "cached_from")


def said(recording: Recorded) -> list[str]:
    """The events that say what was compiled, each without what is of the run; sorted."""
    events = [event for event in recording.events if event["event"] in ("snapshot", "pass", "code")]
    events = [event for event in events if event.get("kind") != "guards"]
    return sorted(json.dumps({k: v for k, v in event.items() if k not in OF_A_RUN}, sort_keys=True) for event in events)


def served(recording: Recorded, result: str) -> list[Event]:
    return recording.of("cache", kind="recording", result=result)


def kept_files(cache: Path) -> list[Path]:
    return sorted(cache.glob(f"cutaway/*{file.SUFFIX}"))


def index(recording: Recorded) -> str:
    (page,) = (name for name in recording.files if name.endswith("index.md"))
    return recording.read(page)


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """A zip with other content, and nothing in the zip itself to show it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content))


def double() -> None:
    """The smallest program: one graph, one entry of the cache."""
    torch.compile(programs.doubled, dynamic=False)(numbers(3))
