"""What two runs were made with: versions, configuration, environment, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cutaway.dump.reader import Dump
from cutaway.errors import DumpError

_MISSING: Any = object()
_PLACE = re.compile(r"(?:cache|dump|tmp|temp).*(?:dir|root|path|folder)|CUTAWAY_(?:DUMP|RUN)$", re.IGNORECASE)
"""Names of places that a run writes to: they differ in any two runs, whatever they are."""
_OF_A_RUN = re.compile(r"cache|dump|tmp|temp|ident|(?:^|[._])(?:id|uuid|pid|port|addr|socket)s?$", re.IGNORECASE)
"""Names of what may differ in any two runs: it does when only a path or a long number in it is another."""
_PATH = re.compile(r"/[^\s:'\",\]]+")
_NUMBER = re.compile(r"[0-9a-fA-F]{16,}|\d{9,}")
_DEEPEST = 40


@dataclass(frozen=True)
class Setting:
    """One thing that differs.

    Attributes:
        name: its path: `vllm.compilation_config.compile_sizes`.
        a, b: its value in either run; None also where it is missing.
        only: "a" or "b" when the other one does not have it.
        of_a_run: it is a path or a number that belongs to one run and differs in any two.
    """

    name: str
    a: Any
    b: Any
    only: str | None = None
    of_a_run: bool = False


def versions(a: Dump, b: Dump) -> list[Setting]:
    """Packages and Python, the platform included, that are not the same."""
    found = [{**_versions(dump), "platform": _context(dump).get("platform")} for dump in (a, b)]
    return list(_differences(found[0], found[1], ""))


def configuration(a: Dump, b: Dump) -> list[Setting]:
    """Configuration, environment and command line that are not the same."""
    ours, theirs = (_context(dump) for dump in (a, b))
    found: list[Setting] = []
    for key, name in (("configuration", ""), ("environment", "environment")):
        found += _differences(ours.get(key, _MISSING), theirs.get(key, _MISSING), name)
    return [*found, *_differences(_command_line(a), _command_line(b), "command_line")]


def _context(dump: Dump) -> Mapping[str, Any]:
    """context.json; empty when it cannot be read, which `Comparison.notes` says."""
    try:
        return dump.context
    except DumpError:
        return {}


def _versions(dump: Dump) -> dict[str, Any]:
    info = dump.info
    of_run = {"torch": info.torch, "python": info.python, "cutaway": info.cutaway} if info else {}
    known = _context(dump).get("versions")
    return {**of_run, **(known if isinstance(known, dict) else {})}


def _command_line(dump: Dump) -> list[str]:
    return dump.info.argv if dump.info else []


def _differences(a: Any, b: Any, name: str, depth: int = 0) -> Iterator[Setting]:
    if a == b and type(a) is type(b):
        return
    if isinstance(a, dict) and isinstance(b, dict) and depth < _DEEPEST:
        for key in dict.fromkeys((*a, *b)):
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(a.get(key, _MISSING), b.get(key, _MISSING), inner, depth + 1)
    elif isinstance(a, dict) and b is _MISSING and a and depth < _DEEPEST:
        yield from _differences(a, {}, name, depth)
    elif isinstance(b, dict) and a is _MISSING and b and depth < _DEEPEST:
        yield from _differences({}, b, name, depth)
    elif a is _MISSING or b is _MISSING:
        yield Setting(name, None, b, "b") if a is _MISSING else Setting(name, a, None, "a")
    else:
        yield Setting(name, a, b, None, _is_of_a_run(name, a, b))


def _is_of_a_run(name: str, a: Any, b: Any) -> bool:
    if isinstance(a, str) and isinstance(b, str) and _PLACE.search(name.rpartition(".")[2]):
        return True
    return bool(_OF_A_RUN.search(name.rpartition(".")[2])) and _general(a) == _general(b)


def _general(value: Any) -> str:
    """A value without what belongs to one run."""
    return _NUMBER.sub("<number>", _PATH.sub("<path>", str(value)))
