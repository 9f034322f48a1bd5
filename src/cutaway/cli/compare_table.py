"""Settings and totals of two runs side by side, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from cutaway.cli.output import Styled, aligned
from cutaway.dump.compare import Comparison, Setting, Total

WIDEST = 52
"""Characters of a setting's value."""


def table_lines(found: Comparison, everything: bool) -> Iterator[list[Styled]]:
    """Versions, configuration and totals side by side."""
    settings = [*found.versions, *found.configuration]
    shown = [each for each in settings if everything or (each.only is None and not each.of_a_run)]
    rows = [["", "A", "B"], *(_setting(each) for each in shown), *(_total(total) for total in found.totals)]
    columns = [[("  " + "  ".join(row).rstrip(), "")] for row in aligned(rows, most=64)]
    yield from columns[: len(shown) + 1]
    if len(shown) < len(settings):
        yield [(f"  {_left_out(settings)} (--all lists them)", "dim")]
    yield from columns[len(shown) + 1 :]


def _left_out(settings: Sequence[Setting]) -> str:
    counts = {f"only in {side.upper()}": sum(each.only == side for each in settings) for side in "ab"}
    counts["differ in any two runs"] = sum(each.of_a_run for each in settings)
    return "settings: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _setting(setting: Setting) -> list[str]:
    a, b = setting.a, setting.b
    values = [_value(a), _value(b)]
    if isinstance(a, list) and isinstance(b, list) and max(map(len, values)) > WIDEST:
        comma = " " if setting.name == "command_line" else ", "
        values = [_beyond(a, b, comma), _beyond(b, a, comma)]
    if setting.only is not None:
        values["ab".index(setting.only) - 1] = "-"
    return [setting.name, *(value if len(value) <= WIDEST else value[: WIDEST - 1] + "…" for value in values)]


def _beyond(mine: Sequence[Any], other: Sequence[Any], comma: str) -> str:
    """What one list has and another has not."""
    more = [str(each) for each in mine if each not in other]
    return f"{len(mine)} {'entry' if len(mine) == 1 else 'entries'}" + (
        f", only here {comma.join(more)}" if more else ""
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _total(total: Total) -> list[str]:
    return [total.name, *("?" if each is None else f"{each:g}" for each in (total.a, total.b))]
