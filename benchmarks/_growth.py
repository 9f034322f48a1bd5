"""Profiles of the same program at two sizes: what each function adds for one more."""

from __future__ import annotations

import pstats
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import _measure

SHOWN = 40
LEAST = 0.05
"""Milliseconds below which a function of ours is not shown."""

Function = tuple[str, str]
"""End of the path and name: lines move when a file is edited, and generated code lies in another folder each time."""


class Grown(NamedTuple):
    """What one function adds for one more: milliseconds in itself, with all that it calls, and calls."""

    calls: float
    own: float
    within: float


def tables(title: str, few: Sequence[Path], many: Sequence[Path], difference: int) -> str:
    """The functions that add most: those of Cutaway, all in themselves, all with what they call, as markdown.

    Args:
        title: of what.
        few, many: profiles as `cProfile` dumps them, several of each: of each function the shortest time counts.
        difference: how many more the second ones are of.
    """
    found = grown(few, many, difference)
    within = sorted(found.items(), key=lambda entry: -entry[1].within)
    own = sorted(found.items(), key=lambda entry: -entry[1].own)[:SHOWN]
    ours = [(function, one) for function, one in within if function[0].startswith("cutaway/") and one.within > LEAST]
    total = sum(one.own for one in found.values())
    return "\n\n".join(
        _measure.table(
            [f"{title}: {total:.1f} ms a layer (profiled), {what}", "in itself, ms", "with what it calls, ms", "calls"],
            [row(function, one) for function, one in entries],
        )
        for what, entries in (("Cutaway's", ours), ("in itself", own), ("with what it calls", within[: 2 * SHOWN]))
        if entries
    )


def grown(few: Sequence[Path], many: Sequence[Path], difference: int) -> dict[Function, Grown]:
    before, after = least(few), least(many)
    nothing = Grown(0, 0, 0)
    return {
        function: Grown(
            *(
                (more - less) / difference
                for less, more in zip(before.get(function, nothing), after.get(function, nothing), strict=True)
            )
        )
        for function in before.keys() | after.keys()
    }


def least(files: Sequence[Path]) -> dict[Function, Grown]:
    """Of each function the fewest calls and the shortest times in any profile that has it."""
    found: dict[Function, list[Grown]] = {}
    for file in files:
        for function, numbers in read(file).items():
            found.setdefault(function, []).append(numbers)
    return {function: Grown(*map(min, zip(*numbers, strict=True))) for function, numbers in found.items()}


def read(file: Path) -> dict[Function, Grown]:
    """Calls, milliseconds in itself, and with what it calls, by function."""
    stats: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = vars(pstats.Stats(str(file)))["stats"]
    found: dict[Function, Grown] = {}
    for (path, _, name), (_, calls, own, within, _) in stats.items():
        _, ours, end = path.rpartition("/src/cutaway/")
        function = f"cutaway/{end}" if ours else "/".join(Path(path).parts[-3:]), re.sub(r" at 0x\w+", "", name)
        if function[1] == "<module>":
            function = "", "modules"
        before = found.get(function, Grown(0, 0, 0))
        found[function] = Grown(before.calls + calls, before.own + 1e3 * own, before.within + 1e3 * within)
    return found


def row(function: Function, one: Grown) -> list[object]:
    path, name = function
    text = name if path in ("~", "") else f"{name} ({path})"
    return [text.replace("|", "¦"), f"{one.own:.2f}", f"{one.within:.2f}", f"{one.calls:.1f}"]
