"""Answers to requests for data: made once, kept as bytes, plain and compressed, until more of the dump was read."""

from __future__ import annotations

import gzip
import sys
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import msgspec

from cutaway.errors import CutawayError, SelectorError, UsageError
from cutaway.web.data import Library
from cutaway.web.data.shapes import Problem
from cutaway.web.data.words import cut

KEPT = 256_000_000
"""Bytes of answers that are kept."""
MOST_READY = 4
"""So many compilations are made ready before somebody asks."""
SMALL = 1000
"""Bytes below which compressing is not worth it."""


@dataclass
class Answer:
    """What is sent.

    Attributes:
        status: HTTP's.
        body: JSON.
    """

    status: int
    body: bytes

    @cached_property
    def tag(self) -> str:
        """Equal for equal bodies."""
        return f'"{blake2b(self.body, digest_size=12).hexdigest()}"'

    @cached_property
    def compressed(self) -> bytes | None:
        """By gzip; None when that is not worth it."""
        return gzip.compress(self.body, 5, mtime=0) if len(self.body) >= SMALL else None


class Answers:
    """Answers by path. One thread at a time may ask.

    Args:
        library: the dump.
        kept: how many bytes to keep; the latest are.
    """

    def __init__(self, library: Library, kept: int = KEPT) -> None:
        self._library = library
        self._most = kept
        self._bytes = 0
        self._known: OrderedDict[str, Answer] = OrderedDict()
        self._names = library.names()

    def get(self, path: str) -> Answer:
        """The answer for a path; a problem is one, too."""
        if path in self._known:
            self._known.move_to_end(path)
            return self._known[path]
        answer = self._make(path)
        if answer.status == 200 and path != "index":
            self._keep(path, answer)
        return answer

    def read_on(self) -> bool:
        """Take in what was recorded since; returns whether anything changed. Graphs stay as they are."""
        names = self._library.names()
        changed = self._library.read_on()
        if not changed and names == self._names:
            return False
        self._names = names
        for path in [path for path in self._known if path.split("/")[2:3] != ["graph"]]:
            self._forget(path)
        return True

    def first(self) -> list[str]:
        """The paths that a page asks for first, and those that take long: to be made ready before."""
        try:
            index = self._library.index()
            process = self._library.process(index.run, index.process)
        except CutawayError:
            return []
        names = list(process.dump.compilations)[:MOST_READY]
        kinds = ["overview", *(f"steps/{name}" for name in names), "search", *(f"lineage/{name}" for name in names)]
        if index.against is not None:
            kinds.append(f"compare/{index.against.run}/{index.against.process}")
        return [f"{index.run}/{index.process}/{kind}" for kind in kinds]

    def _make(self, path: str) -> Answer:
        try:
            return Answer(200, msgspec.json.encode(self._library.get(path, live=True)))
        except CutawayError as error:
            return problem(_status(error), error.what, error.why, error.cure)
        except RecursionError:
            return problem(422, f"{cut(path, 200)!r} cannot be shown", "something in the dump nests too deep")
        except MemoryError:
            return problem(507, f"{cut(path, 200)!r} cannot be shown", "there is too little memory for it")
        except Exception:  # noqa: BLE001  (our bug: the page must say so, the server must go on)
            traceback.print_exc(file=sys.stderr)
            return problem(
                500,
                f"{cut(path, 200)!r} failed",
                "this is a bug in Cutaway",
                "the terminal in which `cutaway view` runs has the traceback: please report it",
            )

    def _keep(self, path: str, answer: Answer) -> None:
        self._known[path] = answer
        self._bytes += len(answer.body)
        while self._bytes > self._most and len(self._known) > 1:
            self._forget(next(iter(self._known)))

    def _forget(self, path: str) -> None:
        self._bytes -= len(self._known.pop(path).body)


def problem(status: int, what: str, why: str = "", cure: str = "") -> Answer:
    """A problem in words, as JSON."""
    return Answer(status, msgspec.json.encode(Problem(cut(what), cut(why), cut(cure))))


def _status(error: CutawayError) -> int:
    if isinstance(error, SelectorError):
        return 404
    return 400 if isinstance(error, UsageError) else 422
