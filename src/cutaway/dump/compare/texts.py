"""Generated code of two runs: whether it is the same, whatever it is called and wherever it was generated."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from cutaway.dump.snapshot import Code
from cutaway.errors import DumpError

_COMMENT = re.compile(r"^\s*(?:#(?: .*)?|//.*)$\n?", re.MULTILINE)
_FOLDER = re.compile(r"(?<=[\"'<])/(?:[^\"'<>\s/]+/)+")


@dataclass(frozen=True)
class Texts:
    """The generated code of a piece for one range, in one run.

    Attributes:
        kernels: name -> identity of its text, of the kernels that were generated.
        calls: name -> how often it is called, generated or not.
        wrapper: identity of the output code; None when there is none.
        unread: texts that the dump lacks.
    """

    kernels: dict[str, str] = field(default_factory=dict[str, str])
    calls: dict[str, int] = field(default_factory=dict[str, int])
    wrapper: str | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextPair:
    """The generated code of two runs.

    Attributes:
        a, b: of either.
        only_a, only_b: kernels whose text the other one does not have under any name.
    """

    a: Texts
    b: Texts
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both have the same kernels, and the same code that calls them."""
        return not self.only_a and not self.only_b and self.a.wrapper == self.b.wrapper and not self.unread

    @property
    def unread(self) -> tuple[str, ...]:
        return (*self.a.unread, *self.b.unread)


def compare_texts(a: Texts, b: Texts) -> TextPair:
    """Which kernels both have."""
    return TextPair(a, b, _beyond(a, b), _beyond(b, a))


def _beyond(a: Texts, b: Texts) -> tuple[str, ...]:
    left = Counter(b.kernels.values())
    found: list[str] = []
    for name, text in a.kernels.items():
        if left[text]:
            left[text] -= 1
        else:
            found.append(name)
    return tuple(found)


class TextReader:
    """Reads generated code, each text once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], str] = {}

    def texts(self, codes: Sequence[Code]) -> Texts:
        """The code of one piece and range.

        Args:
            codes: of kinds `output_code` and `kernel`; others are left out.
        """
        kernels: dict[str, str] = {}
        calls: Counter[str] = Counter()
        wrappers: list[str] = []
        unread: list[str] = []
        for code in codes:
            if code.kind not in ("kernel", "output_code"):
                continue
            try:
                identity = self._identity(code)
            except DumpError:
                unread.append(code.selector)
                continue
            if code.kind == "kernel":
                kernels[code.selector.rpartition("/")[2]] = identity
            else:
                wrappers.append(identity)
                calls.update(call.partition("#")[0] for call in code.kernels)
        return Texts(kernels, dict(calls), " ".join(wrappers) or None, tuple(unread))

    def _identity(self, code: Code) -> str:
        key = (id(code.dump), code.digest)
        if key not in self._known:
            self._known[key] = identity(code.text)
        return self._known[key]


def identity(text: str) -> str:
    """A digest of code without comments, which name nodes and places, and without the folders of files it names."""
    plain = _FOLDER.sub("", _COMMENT.sub("", text))
    return blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def count_kernels(some: Iterable[Texts]) -> int:
    """How many kernels were generated."""
    return sum(len(each.kernels) for each in some)
