"""What `make demo` runs: compile a tiny model with the real vLLM on the CPU, and walk through the dump."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "demo" / "out"
DUMP = OUT / "dump"
LOG = OUT / "generate.log"
REPORT = OUT / "report.html"
TRACE = ".layers.txt"
SHOWN = 40
NEXT = (
    "ls {dump}",
    "show {dump} {selector}",
    "diff {dump} VllmIRLowering",
    "lineage {dump} layers.2.mlp",
    "find {dump} 'op:rms_norm layer:*.q_norm'",
    "why pattern {dump}",
)


def main() -> None:
    run = _record()
    print(f"\nThe dump is {_relative(DUMP)}. This run left there, besides a README.md:\n\n  {run.name}/")
    for line in _tree(run, indent="    "):
        print(line)

    trace = _first_piece(run)
    print(f"\nThe first piece, nested by layer ({_relative(trace)}):\n")
    lines = trace.read_text().splitlines()
    print("\n".join(lines[:SHOWN]))
    if len(lines) > SHOWN:
        print(f"  … {len(lines) - SHOWN} lines more")

    _report()
    print(f"All of it to look at, in any browser, without a server:\n\n  {REPORT.as_uri()}\n")
    print(
        f"The same, live while something compiles; it prints its URL:\n\n  .venv/bin/cutaway view {_relative(DUMP)}\n"
    )

    print("Try next:\n")
    for command in NEXT:
        print("  .venv/bin/cutaway", command.format(dump=_relative(DUMP), selector=_selector(trace)))


def _record() -> Path:
    """Run vLLM in a process of its own, with nothing cached, and return the folder of its run in the dump."""
    earlier = set(_runs())
    OUT.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "demo" / "generate.py"), "--tokens-out", str(OUT / "tokens.json")]
    print("Compiling a Qwen3 of 4 layers with vLLM on the CPU, nothing cached: about a minute …", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as cache, LOG.open("w") as log:
        environment = {
            "CUTAWAY_DEMO_PLATFORM": "1",
            "VLLM_DEBUG_DUMP_PATH": str(DUMP),
            "VLLM_CACHE_ROOT": cache,
            "VLLM_LOGGING_LEVEL": "WARNING",
        }
        done = subprocess.run(command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(LOG.read_text().splitlines()[-20:])
        raise SystemExit(f"{tail}\n\nvLLM ended with {done.returncode}; all it said is in {_relative(LOG)}")
    new = sorted(set(_runs()) - earlier)
    if not new:
        raise SystemExit(
            f"vLLM ran, and left nothing in {_relative(DUMP)}: is the plugin installed (`make env`), "
            f"or CUTAWAY=0 set? What vLLM said is in {_relative(LOG)}"
        )
    print(f"Done in {time.monotonic() - started:.0f} s.")
    return new[-1]


def _report() -> None:
    """Write the web page with the newest run's data into one file."""
    command = [sys.executable, "-m", "cutaway.cli", "report", str(DUMP), "-o", str(REPORT)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _runs() -> Iterator[Path]:
    return (manifest.parent.parent for manifest in DUMP.glob("*/*/manifest.jsonl"))


def _tree(folder: Path, indent: str) -> Iterator[str]:
    """What lies below a folder, one a line; a graph's files (raw and nested by layer) share theirs."""
    for path in sorted(folder.iterdir()):
        if path.name == "nodes":
            yield f"{indent}nodes/  {sum(1 for _ in path.iterdir())} graphs that differ"
        elif path.is_dir():
            yield f"{indent}{path.name}/"
            yield from _tree(path, indent + "  ")
        elif not path.name.endswith(TRACE):
            trace = path.with_name(path.stem + TRACE)
            yield f"{indent}{path.name}  {TRACE}" if trace.exists() else f"{indent}{path.name}"


def _first_piece(run: Path) -> Path:
    traces = sorted(run.rglob(f"*{TRACE}"))
    if not traces:
        raise SystemExit(f"no structured trace (*{TRACE}) in {_relative(run)}")
    return next((trace for trace in traces if "piece_" in str(trace)), traces[0])


def _selector(trace: Path) -> str:
    """The name by which `cutaway show` knows the file's graph: its path without the ordering numbers."""
    process = next(parent for parent in trace.parents if (parent / "manifest.jsonl").exists())
    path = str(trace.relative_to(process)).removesuffix(TRACE)
    return re.sub(r"(^|/)\d+\.", r"\1", path)


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT)


if __name__ == "__main__":
    main()
