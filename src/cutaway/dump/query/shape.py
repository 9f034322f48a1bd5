"""Shapes as one asks for them: `[s*, 256]`, `[..., >=64]`, or one size that is anywhere among them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

from cutaway.dump.query.glob import glob
from cutaway.errors import UsageError

Size = int | str
_SizeTest = Callable[[Size], bool]

_ORDER = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_COMPARED = re.compile(r"(>=|<=|>|<)(\d{1,18})\Z")
_REST = ("...", "…")


def shape_test(value: str) -> Callable[[Sequence[Size]], bool]:
    """A test of shapes.

    Args:
        value: sizes in brackets, `...` for any number of them; or one size. A size is a number, a pattern over the
            text of an expression (`s*`, `*s72*`), or a comparison, which only numbers can pass.

    Raises:
        UsageError: there are several `...`, or a bracket is left open.
    """
    text = re.sub(r"\s", "", value)
    if not text.startswith("["):
        test = _size_test(text)
        return lambda shape: any(map(test, shape))
    if not text.endswith("]"):
        raise UsageError(f"the shape {value!r} does not end", "it begins with a bracket", "write [s*, 256]")
    parts = _split(text[1:-1])
    rest = [index for index, part in enumerate(parts) if part in _REST]
    if len(rest) > 1:
        raise UsageError(f"the shape {value!r} has several '...'", "", "write one, for any number of sizes")
    first = [_size_test(part) for part in (parts[: rest[0]] if rest else parts)]
    last = [_size_test(part) for part in (parts[rest[0] + 1 :] if rest else ())]

    def test_shape(shape: Sequence[Size]) -> bool:
        fewest = len(first) + len(last)
        if len(shape) < fewest or (len(shape) > fewest and not rest):
            return False
        end = shape[len(shape) - len(last) :]
        return all(test(size) for test, size in (*zip(first, shape, strict=False), *zip(last, end, strict=True)))

    return test_shape


def _size_test(text: str) -> _SizeTest:
    compared = _COMPARED.match(text)
    if compared:
        compare, limit = _ORDER[compared[1]], int(compared[2])
        return lambda size: isinstance(size, int) and compare(size, limit)
    matches = glob(text)
    return lambda size: matches(str(size).replace(" ", ""))


def _split(text: str) -> list[str]:
    """The sizes between commas, but not those within an expression: `Max(1, s72), 256` are two."""
    parts, depth = [""], 0
    for char in text:
        depth = max(0, depth + (char == "(") - (char == ")"))
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts if parts != [""] else []
