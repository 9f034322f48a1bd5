"""The runs of the real vLLM that the tests look at: what each is, and what it leaves. vllm_maker.py makes them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECRET = "secret123"


@dataclass(frozen=True)
class Run:
    """How to run vLLM.

    Attributes:
        arguments: of demo/generate.py.
        dump: how recording is asked for: the name of a variable, "option" for CompilationConfig.debug_dump_path,
            or None for not at all.
        engine: "inside" this process, or in a process that vLLM starts by "spawn" or "fork".
        platform: whether vLLM's own compiler runs (the demo platform) or what it does on a CPU as shipped.
        cache_of: begin with the cache that this other run has left; None for an empty one.
        moved: begin with a copy of it, in another folder, instead.
        without: what of the copy is taken away first, as a glob.
        version: an older vLLM, from the folder that `make env-vllm` makes.
        odd_layer: the decoder layer that is not like the others; None for none.
        edit: what `cutaway edit` is to open of the recording of that other run, for vllm_editor.py to change.
        switches: what `cutaway isolate` would have its hands do in the process (`cutaway.explain.switches`), as JSON.
        environment: further variables.
    """

    arguments: str = ""
    dump: str | None = "VLLM_DEBUG_DUMP_PATH"
    engine: str = "inside"
    platform: bool = True
    cache_of: str | None = None
    moved: bool = False
    without: str | None = None
    version: str | None = None
    odd_layer: int | None = None
    edit: tuple[str, ...] = ()
    switches: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


BASE = "--ranges 16 --compile-sizes 8 --logprobs"
"""Two ranges and a single size: what is said of ranges is said of more than one."""

RUNS: dict[str, Run] = {
    "recorded": Run(BASE, environment={"HF_TOKEN": SECRET}),
    "unrecorded": Run(BASE, dump=None),
    "layers_32": Run("--layers 32"),
    "odd_layer": Run("--layers 6", odd_layer=3),
    "two_ranks": Run("--tensor-parallel 2", engine="spawn"),
    "watched": Run(BASE, dump=None, switches='{"compare": [{"piece": "*", "range": "*"}]}'),
    "warm": Run(BASE, cache_of="recorded"),
    "edited": Run(BASE, dump=None, cache_of="recorded", moved=True, edit=("piece_08/range_1_16",)),
    "edited_graph": Run(BASE, dump=None, cache_of="recorded", moved=True, edit=("piece_08", "--graph")),
    "warm_moved": Run(BASE, cache_of="edited", moved=True),
    "warm_pieces": Run(BASE, cache_of="recorded", moved=True, without="**/rank_0_0/model*"),
    "warm_two_ranks": Run("--tensor-parallel 2", engine="spawn", cache_of="two_ranks"),
    "warm_over_unrecorded": Run(BASE, cache_of="unrecorded"),
    "unrecorded_over_recorded": Run(BASE, dump=None, cache_of="recorded"),
    "depyf_over_recorded": Run(BASE, cache_of="recorded", environment={"CUTAWAY": "0"}),
    "by_option": Run("", dump="option"),
    "llama": Run("--model llama", engine="spawn"),
    "forked": Run("", engine="fork"),
    "trace_once": Run("--mode VLLM_COMPILE", platform=False),
    "stock": Run("--mode STOCK_TORCH_COMPILE --logprobs", platform=False),
    "vllm_0_31": Run("", version="0.31.0"),
    "vllm_0_30": Run("", version="0.30.0"),
}
"""Runs by name, those first that others wait for or that take longest."""


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    Attributes:
        name: its key in `RUNS`.
        folder: what it wrote: the dump's root (`dump`), `log.txt`, `result.json`, `facts.json`, `cache`.
        cache: the root of vLLM's cache that it used.
        cache_files: path relative to `cache` -> bytes, at its end.
        result: what generate.py says: versions, mode, compile time, tokens, log probabilities.
        facts: what `vllm_program.describe_process` says of its first process.
        seconds: how long it took.
        crowding: processes that wanted a core, for each core, during its last minute; at least 1.
    """

    name: str
    folder: Path
    cache: Path
    cache_files: dict[str, int]
    result: dict[str, Any]
    facts: dict[str, Any]
    seconds: float
    crowding: float

    @property
    def dump(self) -> Path:
        return self.folder / "dump"

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    @cached_property
    def process(self) -> Path:
        """The process folder; the run compiled in one process."""
        (manifest,) = self.dump.glob("*/*/manifest.jsonl")
        return manifest.parent

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """All events of that process, read without Cutaway."""
        return read_events(self.process)

    def of(self, event: str, **wanted: Any) -> list[dict[str, Any]]:
        """The events of a kind that bear these values."""
        return [
            found
            for found in self.events
            if found["event"] == event and all(found.get(key) == value for key, value in wanted.items())
        ]


def read_events(process: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (process / "manifest.jsonl").read_text().splitlines()]


def older_vllm(version: str) -> Path:
    return ROOT / ".vllm" / version


BEGUN = "begun"
"""Where the process that makes the runs of a folder has its id."""
BEFORE = "cache_before.json"
"""What the files of a cache were before a run with edited code: path -> digest."""

TIMES = "times.json"
"""A run's last file: when it is there, the run is over."""


def failure_file(folder: Path, name: str) -> Path:
    """Where the end of vLLM's log is kept when a run failed."""
    return folder / f"{name}.failed"


def is_alive(process: str) -> bool:
    """Whether a process runs; one that has ended may still be there for its parent to look at."""
    stat = Path("/proc", process, "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(folder: Path, name: str) -> Finished:
    """A run that somebody is making in a folder. Raises RuntimeError, with the end of the log, when vLLM failed."""
    failed, begun, log = failure_file(folder, name), folder / BEGUN, folder / "maker.txt"
    while not (folder / name / TIMES).exists():
        if failed.exists():
            raise RuntimeError(failed.read_text())
        if (maker := begun.read_text()) and not is_alive(maker):
            raise RuntimeError(f"what makes the runs has ended\n{log.read_text() if log.exists() else ''}")
        time.sleep(0.1)
    return finished(folder, name)


def digests(folder: Path) -> dict[str, str]:
    """Every file and folder in a folder: its path -> what is in it, and when it was last written to."""
    return {
        str(path.relative_to(folder)): f"{sha256(path.read_bytes() if path.is_file() else b'').hexdigest()} "
        f"{path.stat().st_mtime_ns}"
        for path in sorted(folder.rglob("*"))
    }


def finished(folder: Path, name: str) -> Finished:
    """A run that is over, read from where it was made."""
    made, run = folder / name, RUNS[name]
    cache = folder / run.cache_of / "cache" if run.cache_of and not run.moved else made / "cache"
    names = ("cache_files.json", "result.json", "facts.json", TIMES)
    cache_files, result, facts, times = (json.loads((made / file).read_text()) for file in names)
    return Finished(name, made, cache, cache_files, result, facts, **times)
