"""The runs of the real vLLM that the tests look at: what each is, and how it is made.

A run takes half a minute and one core. Each is made once, in a process of its own, whichever tests ask for it. Those
that the chosen tests ask for are begun before the first test of all, as many at a time as there are cores.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("vllm_program.py")
GENERATE = ROOT / "demo" / "generate.py"
SECRET = "secret123"
LIMIT = 600


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
    switches: str = ""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


BASE = "--ranges 16 --compile-sizes 8 --logprobs"
"""Two ranges and a single size: what is said of ranges is said of more than one."""

RUNS: dict[str, Run] = {
    "recorded": Run(BASE, environment={"HF_TOKEN": SECRET}),
    "unrecorded": Run(BASE, dump=None),
    "layers_32": Run("--layers 32"),
    "layers_16": Run("--layers 16"),
    "odd_layer": Run("--layers 6", odd_layer=3),
    "two_ranks": Run("--tensor-parallel 2", engine="spawn"),
    "watched": Run(BASE, dump=None, switches='{"compare": [{"piece": "*", "range": "*"}]}'),
    "warm": Run(BASE, cache_of="recorded"),
    "warm_moved": Run(BASE, cache_of="recorded", moved=True),
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


class Runner:
    """Makes runs, each once.

    Args:
        folder: where they write. A run that lies there already (TEST_RUNS) is not made again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._begun: dict[str, Future[Finished]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()

    def begin(self, name: str) -> None:
        """See that a run is made; the run whose cache it needs comes before it, so that no two wait for each other."""
        if name in self._begun:
            return
        earlier = RUNS[name].cache_of
        if earlier is not None:
            self.begin(earlier)
        self._begun[name] = self._pool.submit(self._make, name)

    def get(self, name: str) -> Finished:
        """The finished run. Raises RuntimeError, with the end of the log, when vLLM failed."""
        self.begin(name)
        return self._begun[name].result()

    def close(self) -> None:
        """End what still runs, with what it started."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._pool.shutdown()

    def _make(self, name: str) -> Finished:
        run = RUNS[name]
        folder = self.folder / name
        cache = self.get(run.cache_of).cache if run.cache_of and not run.moved else folder / "cache"
        if not (folder / "times.json").exists():
            folder.mkdir(parents=True)
            if run.cache_of and run.moved:
                _copy(self.get(run.cache_of).cache, cache, run.without)
            started = time.monotonic()
            self._run(run, folder, cache)
            (folder / "cache_files.json").write_text(json.dumps(_files(cache)))
            crowding = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
            times = {"seconds": time.monotonic() - started, "crowding": crowding}
            (folder / "times.json").write_text(json.dumps(times))
        cache_files, result, facts, times = (json.loads((folder / name).read_text()) for name in _JSON)
        return Finished(name, folder, cache, cache_files, result, facts, **times)

    def _run(self, run: Run, folder: Path, cache: Path) -> None:
        fork = ["--fork"] if run.engine == "fork" else []
        option = ["--debug-dump-path", str(folder / "dump")] if run.dump == "option" else []
        odd = [f"--odd-layer={run.odd_layer}"] if run.odd_layer is not None else []
        command = [sys.executable, str(PROGRAM), str(folder / "facts.json"), *fork, *odd, str(GENERATE)]
        command += [*run.arguments.split(), *option, "--tokens-out", str(folder / "result.json")]
        with (folder / "log.txt").open("w") as log:
            process = subprocess.Popen(
                command,
                env=_environment(run, folder, cache),
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            try:
                code = process.wait(LIMIT)
            finally:
                self._running.discard(process)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if code:
            tail = "\n".join((folder / "log.txt").read_text().splitlines()[-40:])
            raise RuntimeError(f"vLLM ended with {code}: {' '.join(command)}\n{tail}")


_JSON = ("cache_files.json", "result.json", "facts.json", "times.json")
_OURS = ("CUTAWAY", "VLLM_", "TORCH", "INDUCTOR_")


def _environment(run: Run, folder: Path, cache: Path) -> dict[str, str]:
    """This process's environment, without what would change the run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    environment |= {"VLLM_CACHE_ROOT": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if run.engine == "inside" else "1"
    if run.platform:
        environment["CUTAWAY_DEMO_PLATFORM"] = "1"
    if run.dump not in (None, "option"):
        environment[run.dump] = str(folder / "dump")
    if run.switches:
        (folder / "switches.json").write_text(run.switches)
        environment["CUTAWAY_SWITCHES"] = str(folder / "switches.json")
    if run.version:
        environment["PYTHONPATH"] = str(older_vllm(run.version))
    return environment | dict(run.environment)


def _copy(cache: Path, to: Path, without: str | None) -> None:
    shutil.copytree(cache, to)
    for path in to.glob(without) if without else ():
        path.unlink()


def _files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
