"""Watches the splitting pieces that stitching code holds as functions of its own: nobody passes them in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_FUNCTION = re.compile(r"^(?P<indent>[ ]*)def (?P<name>\w+)\(")
_WHOLE = "execution_fn"


class Watched(list[Any]):
    """The list that stitching code takes its pieces or constants from, with a way to watch its own functions.

    Args:
        values: the list.
        watch: name of a function of the code, the function -> what is to be called in its place.
    """

    def __init__(self, values: list[Any], watch: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
        super().__init__(values)
        self.watch = watch


def watch_functions(code: str, through: str) -> str:
    """Stitching code that hands each function, other than the whole, to ``through.watch(name, function)``.

    Args:
        code: text with one ``def`` for each splitting piece, in the block of ``def execution_fn``.
        through: what the list is called there.
    """
    lines = code.splitlines()
    at = next((i for i, line in enumerate(lines) if _name(line) == _WHOLE), None)
    if at is None:
        return code
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    names = [_name(line) for line in lines[:at] if line.startswith(f"{indent}def ")]
    watched = [f"{indent}{name} = {through}.watch({name!r}, {name})" for name in names]
    return "\n".join([*lines[:at], *watched, *lines[at:]]) + "\n"


def _name(line: str) -> str | None:
    match = _FUNCTION.match(line)
    return match["name"] if match else None
