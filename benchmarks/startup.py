"""Start-up beside vLLM's own classes, on one model: what grows with layers, a repeated piece, cold and warm starts.

The model is a decoder in plain torch (hidden size 256) whose attention is the splitting op; there is one range of batch
sizes, 1 to 2048. A start is the first call of the built model in a process of its own that has imported all libraries
of both sides. Cold: nothing is cached. Warm: the start after that one. The sides take turns, so that a slow minute of
the machine does not fall on one of them; what both give is held against the model uncompiled.

    python benchmarks/startup.py --layers 4 16 32 64 --repeat 3
    python benchmarks/startup.py --layers 4 24 --profile /tmp/profiles     # what each function adds with every layer
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import _growth
import _measure

SIDES = ("vllm", "cutaway")
TITLES = {"vllm": "vLLM", "cutaway": "Cutaway"}
GOALS = {
    "what grows with layers": "80 ms a layer",
    "a repeated piece": "0.6 ms",
    "the whole cold start": "0.6 of vLLM's, at 64 layers",
    "a warm start": "half of vLLM's",
}
TOLERANCE = 1e-3
"""Largest difference to the uncompiled model; its results are of order 1."""

Start = dict[str, Any]
Runs = dict[int, dict[str, list[Start]]]
"""By number of layers, by side: what each start took."""


def main() -> None:
    arguments = _arguments()
    layers = sorted([4, 8] if arguments.quick else arguments.layers)
    if arguments.profile:
        print(profiled(layers, arguments))
        return
    cold: Runs = {count: {side: [] for side in arguments.sides} for count in layers}
    warm: Runs = {count: {side: [] for side in arguments.sides} for count in layers}
    with tempfile.TemporaryDirectory() as folder:  # reads the libraries from the disk for the first time, and lets
        # Inductor make its precompiled header, which it keeps in a place of its own
        start(arguments.sides[0], layers[0], arguments, Path(folder), is_cold=True)
    for turn in range(1 if arguments.quick else arguments.repeat):
        for count in layers:
            for side in arguments.sides[:: 1 if turn % 2 == 0 else -1]:
                with tempfile.TemporaryDirectory() as folder:
                    cold[count][side].append(start(side, count, arguments, Path(folder), is_cold=True))
                    warm[count][side].append(start(side, count, arguments, Path(folder), is_cold=False))
    tables = [starts("cold start", cold), growth(cold), parts(cold), starts("warm start", warm), goals(cold, warm)]
    result = {"layer_name": arguments.layer_name, "clock": arguments.clock, "goals": GOALS, "cold": cold, "warm": warm}
    _measure.report(arguments.json, result, __doc__ or "", [table for table in tables if table])


def start(side: str, layers: int, options: Any, folder: Path, *, is_cold: bool, profile: Path | None = None) -> Start:
    """One start in a process of its own, with its caches in a folder.

    Raises:
        SystemExit: what it computes is wrong, or the start was warm when it should be cold, or the other way round.
    """
    opaque, on_cpu = options.layer_name == "opaque", options.clock == "cpu"
    call = f"_start.main({side!r}, {layers}, {opaque}, {on_cpu}, {str(profile) if profile else None!r})"
    found = _measure.run_python(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import _start; {call}",
        CUTAWAY="0",
        CUTAWAY_DEMO_PLATFORM="1",
        VLLM_LOGGING_LEVEL="ERROR",
        VLLM_CACHE_ROOT=str(folder / "vllm"),
        CUTAWAY_CACHE_ROOT=str(folder / "cutaway"),
        TORCHINDUCTOR_CACHE_DIR=str(folder / "inductor"),
    )
    kind = "cold" if is_cold else "warm"
    print(f"{layers} layers, {TITLES[side]}, {kind}: {found['total']:.2f} s", file=sys.stderr)
    if found["loaded"] is is_cold:
        raise SystemExit(f"{TITLES[side]}'s start with {layers} layers should have been {kind}, and was not")
    if not found["error"] < TOLERANCE:
        raise SystemExit(f"{TITLES[side]}'s result with {layers} layers is off by {found['error']}")
    return found


# -- tables ---------------------------------------------------------------------------------------------------


def starts(title: str, runs: Runs) -> str:
    rows: list[list[object]] = []
    for count, sides in runs.items():
        for side, found in sides.items():
            seconds = [run["total"] for run in found]
            rows.append(
                [
                    f"{count} layers, {TITLES[side]}",
                    f"{median(seconds):.2f}",
                    f"{min(seconds):.2f} – {max(seconds):.2f}",
                    f"{middle(found, 'cpu'):.2f}",
                    f"{ratio(sides):.2f}" if side == "cutaway" and "vllm" in sides else "",
                    f"{ratio(sides, 'cpu'):.2f}" if side == "cutaway" and "vllm" in sides else "",
                ]
            )
    head = [title, "median, s", "from – to, s", "processor time, s", "against vLLM", "processor time against vLLM"]
    return _measure.table(head, rows)


def parts(runs: Runs) -> str:
    """Where a cold start's time goes. The last column is of the distinct pieces: see `Start.probe`."""
    columns: dict[str, Callable[[Start], float]] = {
        "capture": lambda run: run["capture"],
        "distinct pieces": lambda run: run["distinct"],
        "rest of the backend": lambda run: run["backend"] - run["distinct"],
        "after it": lambda run: run["rest"],
    }
    rows = [
        [
            f"{count} layers, {TITLES[side]}",
            *(f"{median(map(column, found)):.2f}" for column in columns.values()),
            found[0]["pieces"],
            found[0]["repeats"],
            f"{1e3 * median(map(repeated_piece, found)):.2f}",
            f"{middle(found, 'probe'):.2f}",
        ]
        for count, sides in runs.items()
        for side, found in sides.items()
    ]
    head = [
        "cold start",
        *(f"{name}, s" for name in columns),
        "pieces",
        "repeated",
        "a repeated piece, ms",
        "vector probe, s",
    ]
    return _measure.table(head, rows)


def growth(runs: Runs) -> str:
    """Milliseconds a layer, between the fewest and the most layers."""
    if len(runs) < 2:
        return ""
    columns: dict[str, Callable[[Start], float]] = {
        "all": lambda run: run["total"],
        "all but distinct pieces": shared,
        "processor time": lambda run: run["cpu"],
        "capture": lambda run: run["capture"],
        "backend but distinct pieces": lambda run: run["backend"] - run["distinct"],
        "after it": lambda run: run["rest"],
    }
    sides = next(iter(runs.values()))
    rows = [[TITLES[side], *(f"{1e3 * slope(runs, side, of):.1f}" for of in columns.values())] for side in sides]
    fewest, most = min(runs), max(runs)
    return _measure.table([f"ms a layer, {fewest} to {most} layers", *columns], rows)


def goals(cold: Runs, warm: Runs) -> str:
    """What was wanted of Cutaway, and what was found."""
    most = max(cold)
    if set(cold[most]) != set(SIDES):
        return ""
    grown = 1e3 * slope(cold, "cutaway", lambda run: run["total"]) if len(cold) > 1 else None
    found = [
        f"{grown:.0f} ms a layer" if grown is not None else "",
        f"{1e3 * median(map(repeated_piece, cold[most]['cutaway'])):.2f} ms",
        f"{ratio(cold[most]):.2f} of vLLM's, at {most} layers",
        f"{ratio(warm[most]):.2f} of vLLM's, at {most} layers",
    ]
    return _measure.table(
        ["", "at most", "found"], [[*goal, text] for goal, text in zip(GOALS.items(), found, strict=True)]
    )


def shared(run: Start) -> float:
    """A start without the compilers' own time, which is the same at any number of layers, and noisy."""
    return run["total"] - run["distinct"]


def repeated_piece(run: Start) -> float:
    """Seconds for a piece that equals an earlier one. Cutaway finds out for all of its pieces at once."""
    return run["repeated"] / max(1, run["repeats"])


def slope(runs: Runs, side: str, of: Callable[[Start], float]) -> float:
    fewest, most = min(runs), max(runs)
    more = median(map(of, runs[most][side])) - median(map(of, runs[fewest][side]))
    return more / (most - fewest)


def ratio(sides: dict[str, list[Start]], key: str = "total") -> float:
    """Cutaway's against vLLM's, the median over turns."""
    pairs = zip(sides["cutaway"], sides["vllm"], strict=True)
    return median(ours[key] / theirs[key] for ours, theirs in pairs)


def middle(found: Sequence[Start], key: str) -> float:
    return median(run[key] for run in found)


# -- profile --------------------------------------------------------------------------------------------------


def profiled(layers: Sequence[int], arguments: Any) -> str:
    """Profile cold starts; what each function adds between the fewest and the most layers, as tables."""
    out: Path = arguments.profile
    out.mkdir(parents=True, exist_ok=True)
    fewest, most = layers[0], layers[-1]
    if fewest == most:
        raise SystemExit("--profile compares two numbers of layers: give --layers 4 24")
    turns = range(1 if arguments.quick else arguments.repeat)
    files: dict[tuple[str, int], list[Path]] = {}
    for turn in turns:
        for side in arguments.sides:
            for count in (fewest, most):
                file = out / f"{side}_{count}_{turn}.pstats"
                with tempfile.TemporaryDirectory() as folder:
                    start(side, count, arguments, Path(folder), is_cold=True, profile=file)
                files.setdefault((side, count), []).append(file)
    tables = [
        _growth.tables(TITLES[side], files[side, fewest], files[side, most], most - fewest) for side in arguments.sides
    ]
    return "\n\n".join(tables)


def _arguments() -> Any:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 16, 32, 64], metavar="N")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="turns")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument(
        "--layer-name",
        choices=("none", "opaque"),
        default="opaque",
        help="whether the attention op is told its layer's name, as each side's opaque LayerName (as in an engine)",
    )
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="what is measured: time, or processor time, compilers included, for a machine that others use, too",
    )
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="profile cold starts instead; keep them there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
