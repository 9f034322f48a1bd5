"""How long Cutaway takes to import, beyond torch: the part that every process imports, and the recorder.

Each number is the median of fresh processes, measured inside them once torch is imported.

    python benchmarks/import_time.py --repeat 9
"""

from __future__ import annotations

from statistics import median
from typing import Any

import _measure

PROBE = """
import json, os, sys, time
{before}
known = set(sys.modules)
started = time.perf_counter()
{what}
seconds = time.perf_counter() - started
modules = [name for name in sys.modules if name not in known]
ours = [name for name in modules if name.split(".")[0] == "cutaway"]
print(json.dumps({{"ms": 1e3 * seconds, "modules": len(modules), "ours": len(ours)}}))
"""
# What vLLM itself imports to compile; the plugin imports it too, to watch it.
COMPILER = (
    "import vllm.config, vllm.compilation.decorators, vllm.compilation.backends, vllm.compilation.passes.pass_manager"
)
# torch imports `cutaway.record.autostart` by itself; with autoload off it does not, and the probe imports it.
PROBES = {
    "torch": ("", "import torch"),
    "what torch loads when it is imported": ("import torch", "import cutaway.record.autostart as a; a.start()"),
    "the recorder (`cutaway.record`, called)": ("import torch", "import cutaway.record.recording"),
    "vLLM": ("", "import vllm.config.compilation"),
    "vLLM's plugin, nothing set": ("import vllm.config.compilation", "import cutaway.vllm; cutaway.vllm.register()"),
    "vLLM's plugin, recording": (
        f"{COMPILER}; os.environ['VLLM_DEBUG_DUMP_PATH'] = os.environ['TORCHINDUCTOR_CACHE_DIR']",
        "import cutaway.vllm; cutaway.vllm.register()",
    ),
}


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--repeat", type=int, default=7, metavar="N")
    arguments = parser.parse_args()
    repeat = 1 if arguments.quick else arguments.repeat
    found = {title: measure(*probe, repeat) for title, probe in PROBES.items()}
    rows = [[title, f"{entry['ms']:.2f}", entry["modules"], entry["ours"]] for title, entry in found.items()]
    table = _measure.table(["import of", "ms", "modules", "of them Cutaway's"], rows)
    _measure.report(arguments.json, {"imports": found}, __doc__ or "", [table])


def measure(before: str, what: str, repeat: int) -> dict[str, Any]:
    code = PROBE.format(before=before, what=what)
    runs = [_measure.run_python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0") for _ in range(repeat)]
    return {**runs[0], "ms": median(run["ms"] for run in runs)}


if __name__ == "__main__":
    main()
