"""The guards and sizes that a recording wrote down as text, taken apart again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cutaway.explain.shapes.terms import as_python, left_of, names_in

Kind = Literal["model", "torch", "cache", "zero_one", "layout"]

_SIZE = re.compile(
    r"  (?P<symbol>\w+) in \[(?P<least>[^,]+), (?P<most>[^\]]+)\](?:, always (?P<always>.+?))?"
    r", captured with (?P<hint>\S+)  from (?P<source>.*?)(?:    by (?P<place>.*))?"
)
_PLACE = re.compile(r"(?P<file>\S+?):(?P<line>\d+)(?:: (?P<code>.*))?", re.DOTALL)
_LAMBDA = re.compile(r"LAMBDA_GUARD: (?P<condition>.*?)  # (?P<rest>.*)")
_TENSOR = re.compile(
    r"TENSOR_MATCH: check_tensor\((?P<source>.+?), .*?size=\[(?P<sizes>[^\]]*)\].*?\)(?P<rest>  # .*)?$"
)
_NOTE = re.compile(r"(?:(?P<code>.*?)  # )?(?P<file>[^\s()]+):(?P<line>\d+) in (?P<function>\S+)")
_OF_MODULE = re.compile(r"^L\['self'\]|\._(?:parameters|buffers)\[")  # a weight, of the model or of one that is called
_LOCAL = re.compile(r"L\['(\w+)'\]")
_ITEM = re.compile(r"\['(\w+)'\]")
_NAME = re.compile(r"\b[a-z]+\d+\b")
_ZERO_ONE = "0/1 specialization"


@dataclass(frozen=True)
class Size:
    """A symbolic size: one graph serves all its values.

    Attributes:
        symbol: as graphs call it.
        source: where it comes from, such as `input_ids.size()[0]`.
        least, most: its range; None for no end.
        always: what it came to equal: a number or another symbol; empty when it stayed free.
        example: its value while tracing.
        place, code: the line by which it came to equal that.
    """

    symbol: str
    source: str
    least: int | None
    most: int | None
    always: str
    example: int | None
    place: str = ""
    code: str = ""

    @property
    def fixed(self) -> bool:
        """Whether it came to be one number."""
        return self.always.lstrip("-").isdigit()


@dataclass(frozen=True)
class Constraint:
    """A condition under which the compiled graph may be used.

    Attributes:
        kind: `model` (a line of the model asked for it), `torch` (a line of torch), `cache` (it came with code that
            Inductor's cache served), `zero_one` (torch's own assumption that a size is neither 0 nor 1), `layout` (of
            strides).
        text: the condition in Python's spelling.
        symbols: the sizes that it is about.
        leaves: what it leaves of the one size that it is about, in words; empty for several.
        place: `file:line`; empty when unknown.
        code: that line.
    """

    kind: Kind
    text: str
    symbols: tuple[str, ...]
    leaves: str
    place: str
    code: str


@dataclass(frozen=True)
class FixedInput:
    """An input of which all, or some, sizes were taken for numbers.

    Attributes:
        source: the input.
        sizes: of each dimension its number, or None where it may vary.
        place, code: the line that first used it.
    """

    source: str
    sizes: tuple[int | None, ...]
    place: str
    code: str

    @property
    def zero_or_one(self) -> tuple[int, ...]:
        """The dimensions that are 0 or 1: torch makes numbers of them even where sizes may vary."""
        return tuple(index for index, size in enumerate(self.sizes) if size in (0, 1))


def readable(source: str) -> str:
    """A source of Dynamo's as a user would write it: ``L['x'].size()[0]`` is ``x.size()[0]``."""
    text = _LOCAL.sub(r"\1", source)
    text = text.replace("._modules", "").replace("._parameters", "").replace("._buffers", "")
    return _ITEM.sub(r".\1", text)


def read_sizes(text: str) -> list[Size]:
    """The symbolic sizes of ``98.guards.txt``; other integers are left out."""
    part = text.partition("Symbolic sizes")[2].partition("\n\n")[0]
    return [_size(match) for match in map(_SIZE.fullmatch, part.splitlines()) if match is not None]


def _size(match: re.Match[str]) -> Size:
    place, code = _split_place(match["place"] or "")
    least, most, example = map(_number, (match["least"], match["most"], match["hint"]))
    return Size(match["symbol"], readable(match["source"]), least, most, match["always"] or "", example, place, code)


def _number(text: str) -> int | None:
    return int(text) if text.lstrip("-").isdigit() else None


def read_constraints(text: str, sizes: Sequence[Size]) -> list[Constraint]:
    """What tracing put on the sizes, in order; then what torch assumes by itself."""
    part = text.partition("Constraints that tracing put on the sizes")[2].partition("\n\n")[0]
    found: dict[str, Constraint] = {}
    for line in part.splitlines()[1:]:
        condition, _, place = line.strip().partition("    at ")
        constraint = make_constraint(condition, *_split_place(place), sizes)
        found.setdefault(constraint.text, constraint)
    for constraint in (*_of_layout(text), *_zero_one(text, sizes)):
        found.setdefault(constraint.text, constraint)
    return list(found.values())


def make_constraint(condition: str, place: str, code: str, sizes: Sequence[Size]) -> Constraint:
    """A constraint out of sympy's text and the line that made it."""
    text, symbols = as_python(condition), tuple(names_in(condition))
    if len(symbols) == 1:
        leaves = left_of(condition, symbols[0])
    else:  # what is known to be equal, put in
        equal = {size.symbol: size.always for size in sizes if size.always}
        rest = _NAME.sub(lambda found: f"({equal.get(found[0], found[0])})", text)
        leaves = left_of(rest, names_in(rest)[0]) if len(names_in(rest)) == 1 else ""
    return Constraint(_kind(place), text, symbols, leaves, place, code)


def _kind(place: str) -> Kind:
    if "_inductor/codecache.py" in place or "autograd_cache.py" in place:
        return "cache"
    parts = place.replace("\\", "/").split("/")
    return "torch" if "torch" in parts[:-1] and "site-packages" in parts else "model" if place else "torch"


def _of_layout(text: str) -> Iterator[Constraint]:
    for match in map(_LAMBDA.search, text.splitlines()):
        if match is not None and ".stride()" in match["condition"]:
            yield Constraint("layout", readable(match["condition"]), (), "", *_noted(match["rest"]))


def _zero_one(text: str, sizes: Sequence[Size]) -> Iterator[Constraint]:
    """torch compiles 0 and 1 apart from all other sizes; where it says so by a guard, that tells the first use."""
    guards = [match for match in map(_LAMBDA.search, text.splitlines()) if match and _ZERO_ONE in match["rest"]]
    said = {readable(match["condition"].removeprefix("2 <= ")): _noted(match["rest"]) for match in guards}
    for size in sizes:
        if size.least == 2 and not size.always:
            place, code = said.get(size.source, ("", ""))
            yield Constraint("zero_one", f"{size.symbol} >= 2", (size.symbol,), "", place, code)


def read_inputs(text: str) -> list[FixedInput]:
    """Inputs, weights aside, with the sizes that the guards hold them to."""
    found: list[FixedInput] = []
    for match in map(_TENSOR.search, text.splitlines()):
        if match is None or not _LOCAL.match(match["source"]) or _OF_MODULE.search(match["source"]):
            continue
        sizes = tuple(_number(part.strip()) for part in match["sizes"].split(",") if part.strip())
        found.append(FixedInput(readable(match["source"]), sizes, *_noted((match["rest"] or "").removeprefix("  # "))))
    return found


def _split_place(text: str) -> tuple[str, str]:
    """``file:line: code`` as (``file:line``, code)."""
    match = _PLACE.fullmatch(text.strip())
    return (f"{match['file']}:{match['line']}", (match["code"] or "").strip()) if match else (text.strip(), "")


def _noted(rest: str) -> tuple[str, str]:
    """What a guard says of where it comes from: ``code  # file:line in function``."""
    match = _NOTE.match(rest)
    return (f"{match['file']}:{match['line']}", (match["code"] or "").strip()) if match else ("", "")


def whole_place(place: str, files: Sequence[str]) -> str:
    """A ``file:line`` with the whole path, which torch cuts short, where one known file ends so."""
    file, colon, line = place.rpartition(":")
    fitting = [known for known in files if known.endswith(file)]
    return f"{fitting[0]}:{line}" if colon and len(fitting) == 1 else place
