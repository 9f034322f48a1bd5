"""What code of the user's reads while a piece is compiled anew: variables and files, which a cache's key may lack.

torch's, vLLM's and Cutaway's own reads are no news: their keys are made by those who wrote them.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import currentframe
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGES = ("torch", "triton", "vllm", "cutaway", "sympy", "numpy", "filelock")
_CODE = (".py", ".pyc", ".so", ".pyi", ".h", ".cpp")
_MOST = 20
"""From one line; who reads more of them asks for all that there are."""


@dataclass
class Reads:
    """What was read.

    Attributes:
        variables: name -> ``file:line`` that asked for it first.
        files: path -> the same.
    """

    variables: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, str] = field(default_factory=dict[str, str])

    def told(self) -> list[dict[str, Any]]:
        """As JSON; of a variable, whether it is set now, and not to what: it may be a secret."""
        at = list(self.variables.values())
        variables = {name: place for name, place in self.variables.items() if at.count(place) <= _MOST}
        return [
            *({"variable": name, "at": place, "is_set": name in os.environ} for name, place in variables.items()),
            *({"file": path, "at": place} for path, place in self.files.items()),
        ]


@contextmanager
def watch_reads() -> Generator[Reads]:
    """Within the block, what the user's code reads is noted. For the process of a trial: its audit hook stays."""
    reads = Reads()
    kind: Any = type(os.environ)
    original = kind.__getitem__
    is_on = True

    def getitem(environ: Any, name: Any) -> Any:
        place = _reader(currentframe())
        if place is not None:
            reads.variables.setdefault(str(name), place)
        return original(environ, name)

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if not is_on or event != "open" or not isinstance(args[0], str) or args[0].endswith(_CODE):
            return
        if not isinstance(args[1], str) or not args[1].startswith("r"):  # a descriptor is for locks, not for reading
            return
        place = _reader(currentframe())
        if place is not None:
            reads.files.setdefault(args[0], place)

    kind.__getitem__ = getitem
    sys.addaudithook(heard)
    try:
        yield reads
    finally:
        is_on = False
        kind.__getitem__ = original


def _reader(frame: FrameType | None) -> str | None:
    """``file:line`` of the code that asks, if that is the user's: the first that is none of Python's own, nor here."""
    stdlib = sysconfig.get_path("stdlib")
    while frame is not None:
        file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
        is_here = module == __name__
        if not is_here and not file.startswith("<frozen") and (not file.startswith(stdlib) or "site-packages" in file):
            is_known = module.partition(".")[0] in _PACKAGES or not Path(file).is_absolute()
            return None if is_known else f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None
