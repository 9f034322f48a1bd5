"""What `cutaway why shape` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.output import Styled, aligned
from cutaway.explain.shapes import Assumptions, Break, Constraint, Size, Uncaptured

_SHOWN = 20
"""So many constraints of a kind are shown."""
_WHOSE = {
    "model": "demanded by the model",
    "torch": "put there by torch while it compiled",
    "cache": "came with code out of Inductor's cache, where another compile had put them",
}


def shape_lines(found: Sequence[Assumptions], nothing: Sequence[Uncaptured]) -> Iterator[list[Styled]]:
    """What was not captured at all, then every compilation, one after another."""
    for each in nothing:
        yield from _uncaptured(each)
    if not found and not nothing:
        yield [("nothing was compiled while it was recorded", "yellow")]
    for number, each in enumerate(found):
        if number or nothing:
            yield [("", "")]
        yield from _one(each)


def _uncaptured(found: Uncaptured) -> Iterator[list[Styled]]:
    what = f"{found.function or 'a function'}{f' at {_short(found.place)}' if found.place else ''}"
    if found.skipped:
        yield [("not compiled, runs eagerly: ", "red"), (what, "")]
    else:
        yield [("nothing to capture before a graph break: ", "yellow"), (what, "")]
    yield from _break(found.at)


def _one(found: Assumptions) -> Iterator[list[Styled]]:
    yield [(found.compilation, "bold"), (f": {found.function}" if found.function else "", "")]
    if found.failed:
        first = found.failed.strip().splitlines()[:2]
        yield [("  the compile failed: ", "red"), (" ".join(line.strip() for line in first), "")]
    if not found.known:
        yield [
            ("  no guards were recorded: a filter left them out, a cache served it, or the process was stopped", "dim")
        ]
    yield from _sizes(found)
    for kind, words in _WHOSE.items():
        there = [each for each in found.of_kind(kind) if each.leaves != "every size"]
        yield from _constraints(f"  restricted, {words}:", there, "red")
    if found.restricts and found.guarded is False and not found.failed:
        text = "the guards were dropped, and other sizes run the same graph: results may be wrong there"
        yield [("  nothing checks that: ", "red bold"), (text, "")]
    if found.sizes and not found.restricts:
        yield [("  nothing restricts them: ", "green"), ("one graph serves every size in their ranges", "")]
    implied = [each for each in found.of_kind("model", "torch", "cache") if each.leaves == "every size"]
    yield from _constraints("  asked while tracing, and true for every size:", implied, "dim")
    yield from _zero_one(found)
    yield from _fixed(found)
    yield from _reasons(found)


def _sizes(found: Assumptions) -> Iterator[list[Styled]]:
    if not found.sizes:
        if found.known:
            yield [
                ("  every size is fixed", "" if not found.inputs else "yellow"),
                (": there are no symbolic sizes", ""),
            ]
        return
    yield [("  sizes", "")]
    for columns in aligned(
        [[size.symbol, size.source, _range(size), _at(size.place, size.code)] for size in found.sizes]
    ):
        yield [(f"    {'  '.join(columns)}".rstrip(), "")]


def _range(size: Size) -> str:
    if size.always:
        return f"always {size.always}"
    least = 0 if size.least is None else size.least
    span = f"{least} or more" if size.most is None else f"{least} to {size.most}"
    return f"{span}, " + ("not looked at while tracing" if size.example is None else f"captured with {size.example}")


def _constraints(title: str, constraints: Sequence[Constraint], style: str) -> Iterator[list[Styled]]:
    if not constraints:
        return
    yield [(title, style)]
    rows = [
        [each.text, each.leaves if each.leaves != "every size" else "", _at(each.place, each.code)]
        for each in constraints
    ]
    for columns in aligned(rows[:_SHOWN]):
        yield [(f"    {'  '.join(columns)}".rstrip(), "dim" if style == "dim" else "")]
    if len(rows) > _SHOWN:
        yield [(f"    and {len(rows) - _SHOWN} more", "dim")]


def _zero_one(found: Assumptions) -> Iterator[list[Styled]]:
    symbols = [each.symbols[0] for each in found.of_kind("zero_one") if each.symbols]
    if symbols:
        names = ", ".join(symbols)
        what = {
            True: "; a size of 0 or 1 is compiled anew",
            False: "; Dynamo's guards were dropped, and the same graph runs for 0 and 1",
            None: "",
        }[found.guarded]
        yield [(f"  0/1 specialisation, torch's own and no demand of the model: {names} at least 2{what}", "dim")]
    for each in found.inputs:
        if each.zero_or_one:
            where = ", ".join(f"{each.source}.size()[{index}] is {each.sizes[index]}" for index in each.zero_or_one)
            yield [(f"  0/1 specialisation: {where}; torch makes a number of it even where sizes may vary", "yellow")]


def _fixed(found: Assumptions) -> Iterator[list[Styled]]:
    if not found.inputs:
        return
    yield [("  inputs with fixed sizes (weights left out)", "")]
    for each in found.inputs[:_SHOWN]:
        sizes = ", ".join("any" if size is None else str(size) for size in each.sizes)
        yield [(f"    {each.source}: [{sizes}]", "")]


def _reasons(found: Assumptions) -> Iterator[list[Styled]]:
    if found.recompiles:
        yield [("  compiled again, because", "red")]
        for each in found.recompiles:
            kind = " (0/1 specialisation)" if each.kind == "zero_one" else ""
            yield [(f"    {each.text}{kind}  {_at(each.place, each.code)}".rstrip(), "")]
            yield [(f"      the guard is of compilation {each.against}", "dim")]
    for each in found.breaks:
        yield from _break(each)


def _break(found: Break) -> Iterator[list[Styled]]:
    yield [("  graph break ", "red"), (f"at {found.place}: {found.reason}" if found.place else found.reason, "")]
    for text in filter(None, (found.explanation, f"hint: {found.hint}" if found.hint else "")):
        yield [(f"      {text}", "dim")]


def _at(place: str, code: str) -> str:
    return f"{_short(place)}: {code}" if place and code else _short(place)


def _short(place: str) -> str:
    """The last components of a path: what tells a file from others of its name."""
    parts = place.split("/")
    return "/".join(parts[-3:]) if len(parts) > 3 else place
