"""What Cutaway costs when nothing is recorded: a plain torch.compile with it installed, kept out, or not there.

Three ways that take turns: not loaded at all (`TORCH_DEVICE_BACKEND_AUTOLOAD=0`: torch then does not call the
entry point, as if Cutaway were not installed); installed with nothing set; and `CUTAWAY=0`. The functions that a
recording would hook are compared by their code, and one of them is called a hundred thousand times.

    python benchmarks/off_cost.py --repeat 7
"""

from __future__ import annotations

from statistics import median
from typing import Any

import _measure

WAYS: dict[str, dict[str, str]] = {
    "not loaded": {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    "installed, nothing set": {},
    "CUTAWAY=0": {"CUTAWAY": "0"},
}
PROBE = """
import hashlib, json, sys, time
started = time.perf_counter()
import torch
imported = time.perf_counter() - started
import torch._dynamo, torch._inductor.compile_fx, torch.fx._utils
from torch._logging._internal import trace_structured
layer = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.LayerNorm(64))
inputs = torch.randn(8, 64)
with torch.no_grad():
    torch.compile(torch.nn.Linear(3, 3))(torch.randn(2, 3))  # what only the first compile of a process costs
    started = time.perf_counter()
    torch.compile(layer)(inputs)
    compiled = time.perf_counter() - started
calls = 100_000
metadata = lambda: {"name": "nothing", "encoding": "string"}
started = time.perf_counter()
for _ in range(calls):
    trace_structured("artifact", metadata)
called = (time.perf_counter() - started) / calls
hooked = [trace_structured, torch.fx._utils.lazy_format_graph_code, torch.fx.GraphModule.print_readable]
code = hashlib.sha256(b"".join(function.__code__.co_code for function in hooked)).hexdigest()[:12]
ours = sorted(name for name in sys.modules if name.split(".")[0] == "cutaway")
print(json.dumps({"import_s": imported, "compile_s": compiled, "call_ns": 1e9 * called, "code": code, "modules": ours}))
"""


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=7, metavar="N")
    arguments = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for turn in range(1 if arguments.quick else arguments.repeat):
        names = list(WAYS)
        for way in (*names[turn % 3 :], *names[: turn % 3]):
            runs[way].append(_measure.run_python(PROBE, **WAYS[way]))
    head = [
        "",
        "import torch, s",
        "torch.compile, s",
        "from – to, s",
        "a hooked function, ns a call",
        "its code",
        "modules",
    ]
    rows = [
        [
            way,
            f"{median(run['import_s'] for run in found):.3f}",
            f"{median(run['compile_s'] for run in found):.3f}",
            f"{min(run['compile_s'] for run in found):.3f} – {max(run['compile_s'] for run in found):.3f}",
            f"{median(run['call_ns'] for run in found):.0f}",
            found[0]["code"],
            len(found[0]["modules"]),
        ]
        for way, found in runs.items()
    ]
    _measure.report(arguments.json, {"ways": runs}, __doc__ or "", [_measure.table(head, rows)])


if __name__ == "__main__":
    main()
