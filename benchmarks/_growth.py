"""Two profiles of the same program at two sizes: what each function adds for one more."""

from __future__ import annotations

import pstats
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import _measure

SHOWN = 45
Function = tuple[str, int, str]


class Grown(NamedTuple):
    """What one function adds for one more: milliseconds in itself, with all that it calls, and calls."""

    own: float
    within: float
    calls: float


def tables(title: str, few: Path, many: Path, difference: int) -> str:
    """The functions that add most, in themselves and with what they call, as markdown.

    Args:
        title: of what.
        few, many: profiles as `cProfile` dumps them.
        difference: how many more the second one is of.
    """
    found = grown(few, many, difference)
    total = sum(one.own for one in found.values())
    own = sorted(found.items(), key=lambda entry: -entry[1].own)[:SHOWN]
    within = sorted(found.items(), key=lambda entry: -entry[1].within)[: 2 * SHOWN]
    head = [f"{title}: {total:.1f} ms a layer (profiled)", "in itself, ms", "with what it calls, ms", "calls"]
    return "\n\n".join(
        _measure.table(head, [row(function, one) for function, one in entries]) for entries in (within, own)
    )


def grown(few: Path, many: Path, difference: int) -> dict[Function, Grown]:
    before, after = read(few), read(many)
    found: dict[Function, Grown] = {}
    for function in before.keys() | after.keys():
        small, large = (profile.get(function, (0, 0.0, 0.0)) for profile in (before, after))
        calls, own, within = ((more - less) / difference for less, more in zip(small, large, strict=True))
        found[function] = Grown(1e3 * own, 1e3 * within, calls)
    return found


def read(file: Path) -> Mapping[Function, tuple[int, float, float]]:
    """Calls, seconds in itself, and with what it calls, by function."""
    stats: Mapping[Function, tuple[int, int, float, float, object]] = vars(pstats.Stats(str(file)))["stats"]
    return {function: (calls, own, within) for function, (_, calls, own, within, _) in stats.items()}


def row(function: Function, one: Grown) -> list[object]:
    file, line, name = function
    place = "/".join(Path(file).parts[-3:])
    text = f"{name} ({place}:{line})" if line else name
    return [text.replace("|", "¦"), f"{one.own:.2f}", f"{one.within:.2f}", f"{one.calls:.1f}"]
