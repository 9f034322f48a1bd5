"""What `cutaway why cache` prints for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from cutaway.cli.output import Styled
from cutaway.explain.cache import Difference, Miss, Neighbour

_SHOWN = 10
_WHAT = {
    "vllm": "vLLM's cache of compiled graphs",
    "vllm_aot": "vLLM's cache of whole models",
    "cutaway_model": "Cutaway's cache of models",
    "cutaway_piece": "Cutaway's cache of pieces",
    "fx_graph": "torch's cache of graphs",
    "aot_autograd": "torch's cache of what AOTAutograd makes",
    "torch": "torch's caches",
}


def cache_lines(found: Sequence[Miss], show_all: bool) -> Iterator[list[Styled]]:
    """Every miss, one after another."""
    if not found:
        yield [("no miss: ", "green"), ("everything that was looked for in a cache was there", "")]
    for number, miss in enumerate(found):
        if number:
            yield [("", "")]
        yield from _miss(miss, show_all)


def _miss(miss: Miss, show_all: bool) -> Iterator[list[Styled]]:
    name, *rest = miss.of or ("?",)
    more = f" and {len(rest)} more" if rest else ""
    yield [(f"{name}{more}", "bold"), (f" was not in {_WHAT.get(miss.cache, miss.cache)}", ""), _key(miss.key)]
    if miss.reason:
        yield [(f"  {miss.reason}", "")]
    yield from _differences(miss.causes, show_all)
    if not miss.nearest:
        return
    first, others = miss.nearest[0], miss.nearest[1:]
    yield [("  what is another than in the nearest entry", ""), _entry(first)]
    yield from _differences(first.differences, show_all)
    for other in others:
        words = ", ".join(one.words for one in other.differences[:2])
        rest = f", and {len(other.differences) - 2} more" if len(other.differences) > 2 else ""
        if show_all:
            yield [("  another entry", "dim"), _entry(other)]
            yield from _differences(other.differences, show_all)
        else:
            yield [("  farther away", "dim"), _entry(other), (f": {words}{rest}", "dim")]


def _differences(found: Sequence[Difference], show_all: bool) -> Iterator[list[Styled]]:
    shown = found if show_all else found[:_SHOWN]
    for one in shown:
        yield [(f"    {one.kind:<13}", "dim"), (one.words, "yellow")]
    if len(found) > len(shown):
        yield [(f"    and {len(found) - len(shown)} more; see them with --all", "dim")]


def _key(key: str) -> Styled:
    return f" ({key[:10]})" if key else "", "dim"


def _entry(entry: Neighbour) -> Styled:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made))
    of = f" of {entry.of}" if entry.of else ""
    return f" {entry.key[:10]}{of}, {made}", "dim"
