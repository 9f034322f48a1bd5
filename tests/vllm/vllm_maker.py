"""Makes the runs of the real vLLM that tests look at (vllm_runs.py), while other tests run.

    python vllm_maker.py FOLDER PID NAME...

A run takes half a minute and one core. Each is made once, in a process of its own, as many at a time as there are
cores; a run that lies in the folder already (TEST_RUNS) is not made again. Ends, with all that it has started, when the
process PID has ended, or when its own id does not stand in FOLDER/begun any more.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from vllm_runs import BEFORE, BEGUN, ROOT, RUNS, TIMES, Run, digests, failure_file, is_alive, older_vllm

PROGRAM = Path(__file__).with_name("vllm_program.py")
GENERATE = ROOT / "demo" / "generate.py"
EDITOR = Path(__file__).with_name("vllm_editor.py")
LIMIT = 600
_OURS = ("CUTAWAY", "VLLM_", "TORCH", "INDUCTOR_")


def main() -> None:
    folder, tests, *names = sys.argv[1:]
    begun = Path(folder, BEGUN)
    maker = Maker(Path(folder))
    for name in names:
        maker.begin(name)
    while is_alive(tests) and begun.exists() and begun.read_text() in ("", str(os.getpid())):
        time.sleep(0.2)
    maker.close()
    if not os.environ.get("TEST_RUNS"):
        shutil.rmtree(folder, ignore_errors=True)


class Maker:
    """Makes runs, each once, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._begun: dict[str, Future[None]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()

    def begin(self, name: str) -> None:
        """See that a run is made; the run whose cache it needs comes before it, so that no two wait for each other."""
        if name in self._begun:
            return
        earlier = RUNS[name].cache_of
        if earlier is not None:
            self.begin(earlier)
        self._begun[name] = self._pool.submit(self._try, name)

    def close(self) -> None:
        """End what still runs, with what it started."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._pool.shutdown()

    def _try(self, name: str) -> None:
        try:
            self._make(name)
        except BaseException as error:
            failure_file(self.folder, name).write_text(f"{type(error).__name__}: {error}")
            raise

    def _make(self, name: str) -> None:
        run = RUNS[name]
        folder = self.folder / name
        if run.cache_of:
            self._begun[run.cache_of].result()
        if (folder / TIMES).exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        cache = self.folder / run.cache_of / "cache" if run.cache_of and not run.moved else folder / "cache"
        if run.cache_of and run.moved:
            _copy(self.folder / run.cache_of / "cache", cache, run.without)
        elif run.version is None and not run.cache_of:
            self._know_models(cache)
        if run.edit:
            (folder / BEFORE).write_text(json.dumps(digests(cache)))
        started = time.monotonic()
        self._run(run, folder, cache)
        (folder / "cache_files.json").write_text(json.dumps(_files(cache)))
        crowding = max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
        (folder / "times").write_text(json.dumps({"seconds": time.monotonic() - started, "crowding": crowding}))
        (folder / "times").rename(folder / TIMES)

    def _know_models(self, cache: Path) -> None:
        """What vLLM found out about its models in an earlier run, in a process that imports them all."""
        done = (self.folder / name / "cache" / "modelinfos" for name in list(self._begun) if self._is_done(name))
        if known := next((folder for folder in done if folder.is_dir()), None):
            shutil.copytree(known, cache / "modelinfos")

    def _is_done(self, name: str) -> bool:
        return RUNS[name].version is None and (self.folder / name / TIMES).exists()

    def _run(self, run: Run, folder: Path, cache: Path) -> None:
        fork = ["--fork"] if run.engine == "fork" else []
        option = ["--debug-dump-path", str(folder / "dump")] if run.dump == "option" else []
        odd = [f"--odd-layer={run.odd_layer}"] if run.odd_layer is not None else []
        command = [sys.executable, str(PROGRAM), str(folder / "facts.json"), *fork, *odd, str(GENERATE)]
        command += [*run.arguments.split(), *option, "--tokens-out", str(folder / "result.json")]
        if run.edit:
            dump = self.folder / str(run.cache_of) / "dump"
            command = [sys.executable, "-m", "cutaway.cli", "edit", str(dump), *run.edit, "--", *command]
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


def _environment(run: Run, folder: Path, cache: Path) -> dict[str, str]:
    """This process's environment, without what would change the run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    environment |= {"VLLM_CACHE_ROOT": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    environment["TORCHINDUCTOR_VEC_ISA_OK"] = "1"  # no trial compiles: what the processor says of itself is true
    environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if run.engine == "inside" else "1"
    if run.platform:
        environment["CUTAWAY_DEMO_PLATFORM"] = "1"
    if run.dump not in (None, "option"):
        environment[run.dump] = str(folder / "dump")
    if run.switches:
        (folder / "switches.json").write_text(run.switches)
        environment["CUTAWAY_SWITCHES"] = str(folder / "switches.json")
    if run.edit:
        environment["VISUAL"] = shlex.join([sys.executable, str(EDITOR)])
    if run.version:
        environment["PYTHONPATH"] = str(older_vllm(run.version))
    return environment | dict(run.environment)


def _copy(cache: Path, to: Path, without: str | None) -> None:
    shutil.copytree(cache, to)
    for path in to.glob(without) if without else ():
        path.unlink()


def _files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


if __name__ == "__main__":
    main()
