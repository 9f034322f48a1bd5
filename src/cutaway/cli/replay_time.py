"""What `cutaway replay --time` measured, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from cutaway.cli.output import Styled, aligned
from cutaway.replay.time_job import How
from cutaway.replay.timing import UNSTEADY, Timed, Timing

_HOW: dict[How, str] = {
    "eager": "operator by operator",
    "compiled": "compiled by Inductor, here",
    "code": "the code in the dump",
}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
HEAD = ["", "way", "median", "middle half", "fastest", "ratio"]


def timing_lines(found: Timing) -> Iterator[list[Styled]]:
    """The answer of `cutaway replay --time`: a row for each way, with what one call of it takes."""
    against = f" against {found.against}" if found.against is not None else ""
    yield [(f"{found.name}{against}", "bold")]
    yield [(f"  {_how(found)}", "dim")]
    yield []
    rows = [HEAD]
    for number, row in enumerate(found.rows, 1):
        rows.append([str(number), _HOW[row.how], *_numbers(row)])
    several = len({row.name for row in found.rows if row.how != "code"}) > 1
    head, *lines = aligned(rows, right=(2, 3, 4))
    yield [(("  " + "  ".join(head)).rstrip(), "dim")]
    shown = ""
    for row, line in zip(found.rows, lines, strict=True):
        if several and row.name != shown:
            yield [(f"  {row.name}", "cyan")]
            shown = row.name
        yield [(("  " + "  ".join(line)).rstrip(), "")]
    for number, row in enumerate(found.rows, 1):
        if row.why_not:
            yield [(f"  {number} was not measured: {row.why_not}", "yellow")]
    for note in found.notes:
        yield [(f"  note: {note}", "dim")]


def timing_json(found: Timing) -> dict[str, Any]:
    """The same as JSON; every time in seconds."""
    return {
        "name": found.name,
        "against": found.against,
        "sizes": dict(found.sizes),
        "seed": found.seed,
        "inputs": found.inputs,
        "recorded": list(found.recorded),
        "devices": list(found.devices),
        "threads": found.threads,
        "cores": found.cores,
        "load": found.load,
        "notes": list(found.notes),
        "ways": [{**asdict(row), "why_not": row.why_not or None} for row in found.rows],
    }


def _how(found: Timing) -> str:
    sizes = " ".join(f"{name}={size}" for name, size in found.sizes.items()) or "fixed sizes"
    count = len(found.recorded)
    inputs = f"{count} of {found.inputs} inputs as recorded, others of seed" if count else "inputs of seed"
    inputs = "inputs as recorded" if count and count == found.inputs else f"{inputs} {found.seed}"
    rounds = max((row.seconds.count for row in found.rows if row.seconds is not None), default=0)
    device = ", ".join(found.devices)
    threads = f"{found.threads} thread{'s' if found.threads > 1 else ''} on {found.cores} cores"
    load = f", load {found.load:.1f}" if found.load is not None else ""
    turns = f"{rounds} rounds, one way after another in each" if len(found.rows) > 1 else f"{rounds} rounds"
    return f"{sizes} · {inputs} · {device}, {threads}{load} · {turns}"


def _numbers(row: Timed) -> list[str]:
    if row.seconds is None:
        return ["not measured", "", "", ""]
    spread = row.seconds
    middle = f"{_time(spread.low)}–{_time(spread.high)}"
    return [_time(spread.median), middle, _time(spread.least), _ratio(row)]


def _ratio(row: Timed) -> str:
    """`0.117 × row 1 (0.115–0.120)`: so many times as long as that; of the fastest, too, where others disturbed."""
    ratio = row.ratio
    if ratio is None or row.to is None:
        return ""
    span = f"{_short(ratio.low)}–{_short(ratio.high)}"
    same = ", no difference to be told" if ratio.low <= 1 <= ratio.high else ""
    fastest = ""
    if ratio.width > UNSTEADY and row.ratio_of_fastest is not None:
        fastest = f"; of the fastest {_short(row.ratio_of_fastest)}"
    return f"{_short(ratio.median)} × row {row.to + 1} ({span}{same}{fastest})"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.2f}" if number >= 1 else f"{number:.3g}"


def _time(seconds: float) -> str:
    """Three digits, with their unit: `97.3 µs`."""
    scale, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    number = seconds / scale
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
