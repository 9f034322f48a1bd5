"""How long questions to a dump take, and how large it is, on a model of many layers; depyf and tlparse beside it.

vLLM compiles a Llama (hidden size 256, random weights) on the CPU, nothing cached: recorded by Cutaway, dumped by
depyf, and traced for tlparse. Then each command runs as a user runs it, in a process of its own, start included.

    python benchmarks/read.py --layers 80 --repeat 5
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import _measure

LOWERING = "post_grad.2.VllmIRLoweringPass"
COMMANDS: dict[str, list[str]] = {
    "ls": ["ls"],
    "show": ["show", "backbone/captured"],
    "diff, a pass in all pieces": ["diff", LOWERING, "--brief"],
    "find, an operator": ["find", "op:*rms_norm*"],
    "find, a dtype: nearly all nodes": ["find", "dtype:f32"],
    "lineage, a source line": ["lineage", "source:{source}"],
    "lineage, a kernel": ["lineage", "kernel:{kernel}"],
}


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, default=80, metavar="N")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="times that each command runs")
    arguments = parser.parse_args()
    layers, repeat = (4, 1) if arguments.quick else (arguments.layers, arguments.repeat)
    found: dict[str, Any] = {"layers": layers}
    model = ("--model", "llama")
    with _measure.vllm_run(layers, "cutaway", arguments=model) as ran:
        found["cutaway"] = size(ran)
        found["commands"] = {name: asked(ran.out, words, repeat) for name, words in _filled(ran.out).items()}
    with _measure.vllm_run(layers, "depyf", arguments=model) as ran:
        found["depyf"] = size(ran)
    with _measure.vllm_run(layers, "trace", arguments=model) as ran:
        found["trace"] = size(ran) | {"tlparse_seconds": _measure.tlparse(ran.out)}
    _measure.report(arguments.json, found, __doc__ or "", [_sizes(found), _times(found)])


def size(ran: _measure.Ran) -> dict[str, Any]:
    files, length = _measure.written(ran.out)
    return {"files": files, "bytes": length, "compile_seconds": ran.compile_seconds}


def asked(dump: Path, words: list[str], repeat: int) -> dict[str, Any]:
    """Seconds of the clock and of the processor, the middle of several; the first read is not counted."""
    clock, used = [], []
    for _ in range(repeat + 1):
        command = [sys.executable, "-m", "cutaway.cli", words[0], str(dump), *words[1:]]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        clock.append(time.monotonic() - began)
        used.append(usage.ru_utime + usage.ru_stime)
    return {"seconds": median(clock[1:]), "cpu_seconds": median(used[1:])}


def _filled(dump: Path) -> dict[str, list[str]]:
    """The commands, with a source line and a kernel that this dump has."""
    import cutaway  # noqa: PLC0415  (only now is it read)

    backbone = cutaway.load(dump)["backbone"]
    captured = next(step for step in backbone.snapshots if step.stage == "captured")
    table = captured.table
    source = next(table.source(node) for node in table.nodes if "rms_norm" in node.target and node.source is not None)
    kernel = next(name for code in backbone.codes for name in code.kernels if name.startswith("cpp_"))
    named = {"source": f"{Path(source.file).name}:{source.line}" if source else "", "kernel": kernel}
    return {name: [word.format(**named) for word in words] for name, words in COMMANDS.items()}


def _sizes(found: dict[str, Any]) -> str:
    titles = {"cutaway": "Cutaway", "depyf": "depyf", "trace": "TORCH_TRACE, which tlparse reads"}
    rows: list[list[object]] = [
        [title, found[way]["files"], f"{found[way]['bytes'] / 1e6:.1f}", f"{found[way]['compile_seconds']:.1f}"]
        for way, title in titles.items()
    ]
    seconds = found["trace"]["tlparse_seconds"]
    if seconds is not None:
        rows.append([f"tlparse takes {seconds:.2f} s for it", "", "", ""])
    return _measure.table([f"{found['layers']} layers", "files", "MB", "vLLM compiled, s"], rows)


def _times(found: dict[str, Any]) -> str:
    rows = [
        [name, f"{times['seconds']:.2f}", f"{times['cpu_seconds']:.2f}"] for name, times in found["commands"].items()
    ]
    return _measure.table(["command", "s", "processor time, s"], rows)


if __name__ == "__main__":
    main()
