"""How much longer vLLM compiles when its compile is watched: not at all, by Cutaway, by depyf, by TORCH_TRACE.

Each run is a process of its own that compiles a Qwen3 with vLLM's compiler on the CPU, nothing cached. The
ways take turns, so that a slow minute of the machine does not fall on one of them. The compile time is
the one that vLLM reports. What differs from run to run is more than what Cutaway adds: one more run for each model
therefore adds up, inside the process, the time in Cutaway's own code.

    python benchmarks/overhead.py --layers 4 16 32 --repeat 3
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import _measure

WAYS = tuple(_measure.VARIANTS)
TITLES = {"off": "not watched", "cutaway": "Cutaway", "depyf": "depyf (vLLM's own dump)", "trace": "TORCH_TRACE"}


def main() -> None:
    arguments = _arguments()
    layers = [4] if arguments.quick else arguments.layers
    with _measure.vllm_run(layers[0], "off"):
        pass  # makes the model, and reads torch and vLLM from the disk for the first time
    runs: dict[int, dict[str, list[dict[str, float]]]] = {count: {way: [] for way in WAYS} for count in layers}
    parse: dict[int, list[float | None]] = {count: [] for count in layers}
    repeat = 1 if arguments.quick else arguments.repeat
    for turn in range(repeat):
        for count in layers:
            for way in (*WAYS[turn % len(WAYS) :], *WAYS[: turn % len(WAYS)]):
                with _measure.vllm_run(count, way) as ran:
                    runs[count][way].append({"compile": ran.compile_seconds, "cpu": ran.cpu_seconds})
                    if way == "trace":
                        parse[count].append(_measure.tlparse(ran.out))
                print(f"{count} layers, {way}: {ran.compile_seconds:.2f} s", file=sys.stderr)
    inside = {count: account(count) for count in layers}
    result = {
        "repeat": repeat,
        "layers": {
            count: {"runs": runs[count], "tlparse_seconds": parse[count], "inside": inside[count]} for count in layers
        },
    }
    tables = [times(runs, parse), costs(runs, inside)]
    _measure.report(arguments.json, result, __doc__ or "", tables)


def account(layers: int) -> dict[str, Any]:
    """Seconds in Cutaway's code during one compile, added up inside the process, and what its own events say."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "spent.json"
        program = (str(Path(__file__).with_name("_account.py")), str(out))
        with _measure.vllm_run(layers, "cutaway", program) as ran:
            spent = json.loads(out.read_text())
            (manifest,) = ran.out.glob("*/*/manifest.jsonl")
            events = [json.loads(line) for line in manifest.read_text().splitlines()]
    hooks = [event["values"] for event in events if event["event"] == "metric" and event["kind"] == "hooks"]
    ranges = [values["hook_ms"] for values in hooks if "/range_" in values["scope"]]
    return {
        "compile_seconds": ran.compile_seconds,
        "seconds": sum(entry["seconds"] for entry in spent.values()),
        "by_handler": spent,
        "hook_ms": sum(values["hook_ms"] for values in hooks),
        "render_ms": sum(values["render_ms"] for values in hooks),
        "most_hook_ms_of_a_piece_and_range": max(ranges),
    }


def times(runs: dict[int, dict[str, list[dict[str, float]]]], parse: dict[int, list[float | None]]) -> str:
    rows: list[list[object]] = []
    for count, ways in runs.items():
        base = middle(ways["off"], "compile")
        for way, found in ways.items():
            seconds = [run["compile"] for run in found]
            title = TITLES[way]
            if way == "trace":
                after = [time for time in parse[count] if time is not None]
                title += f" (and then tlparse, {median(after):.2f} s)" if after else " (tlparse is not installed)"
            change = f"{100 * (median(seconds) / base - 1):+.1f} %" if way != "off" else ""
            spread = f"{min(seconds):.2f} – {max(seconds):.2f}"
            rows.append([f"{count} layers, {title}", f"{median(seconds):.2f}", spread, change, cpu(ways, way)])
    return _measure.table(
        ["vLLM's compile time", "median, s", "from – to, s", "against not watched", "processor time of the run, s"],
        rows,
    )


def cpu(ways: dict[str, list[dict[str, float]]], way: str) -> str:
    base, found = middle(ways["off"], "cpu"), middle(ways[way], "cpu")
    return f"{found:.1f}" if way == "off" else f"{found:.1f} ({found - base:+.1f})"


def costs(runs: dict[int, dict[str, list[dict[str, float]]]], inside: dict[int, dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for count, found in inside.items():
        base = middle(runs[count]["off"], "compile")
        added = middle(runs[count]["depyf"], "compile") - base
        rows.append(
            [
                f"{count} layers",
                f"{1e3 * found['seconds']:.0f}",
                f"{100 * found['seconds'] / base:.1f} %",
                f"{1e3 * added:.0f}",
                f"{found['most_hook_ms_of_a_piece_and_range']:.1f}",
            ]
        )
    head = [
        "added up inside",
        "Cutaway's code, ms",
        "of the compile time",
        "depyf adds, ms",
        "most hook ms, piece/range",
    ]
    return _measure.table(head, rows)


def middle(found: list[dict[str, float]], key: str) -> float:
    return median(run[key] for run in found)


def _arguments() -> Any:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 16, 32], metavar="N")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each way and model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
