"""Makes a report: what fits goes in, in the order in which it matters, and the report says what did not fit."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from cutaway.errors import UsageError
from cutaway.web.data import Library, shapes
from cutaway.web.report.contents import OVERVIEW, Contents
from cutaway.web.report.pack import Frame, chunk, inflated
from cutaway.web.report.redact import Redactor

PAGE = Path(__file__).parents[1] / "page"
ROOM = 400_000
"""Bytes of JSON in a chunk: it is inflated as one, in some milliseconds."""
RESERVE = 6_000
"""Bytes kept for the list of what was left out."""
DIRECTORY = 24
"""Bytes that a path takes in the list of paths, beside itself."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        html: the file.
        resources: how many it holds.
        left_out: what it does not, and why.
        redacted: whether names were taken out.
        hidden: those that were hidden wherever they stood, besides paths.
        chunks: its data, as they are packed.
    """

    html: bytes = field(repr=False)
    resources: int
    left_out: tuple[shapes.LeftOut, ...]
    redacted: bool
    hidden: tuple[str, ...]
    chunks: tuple[str, ...] = field(repr=False)

    def plain(self) -> str:
        """Its data as text that can be searched: a resource a line, its path and its JSON."""
        return "".join(f"{path}\t{text}\n" for packed in self.chunks for path, text in inflated(packed))


def make_report(
    path: str | os.PathLike[str],
    *,
    run: str | None = None,
    rank: str | None = None,
    against: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    redact: bool = False,
    hide: Iterable[str] = (),
    max_bytes: int = 20_000_000,
    page: Path = PAGE,
) -> Report:
    """One offline HTML file with the page and the data of one run, or of one run of each of two dumps.

    Args:
        path: a dump's root, one of its runs or one of its processes.
        run, rank: which; None for the newest run, all its processes that differ.
        against: another dump; its newest run, and how it differs, go in, too.
        only: selectors, or parts of them: the rest is left out.
        redact: hide names of paths, users, hosts and models, the configuration and the command line.
        hide: further names to hide; implies `redact`.
        max_bytes: the largest file.
        page: where the built page lies.

    Raises:
        DumpError, SelectorError: the dump cannot be read, or has nothing of that name.
        UsageError: the page is not built, or `max_bytes` is too small for any data.
    """
    frame = Frame(page)
    names = [*hide]
    hidden = redact or bool(names)
    # A folder's name is nobody's business either.
    library = Library(path, run, rank, against=against, called="B" if hidden else None)
    contents = Contents(library, only)
    if not any(each.process.dump.compilations for each in contents.processes):
        raise UsageError("there is nothing to report", "nothing was compiled while it was recorded")
    redactor = Redactor((each.process.dump for each in contents.processes), [*_own_names(), *names]) if hidden else None
    packed = _Packed(max_bytes - frame.bytes - RESERVE, redactor)
    for section in contents.sections():
        packed.add(section.name, section.paths, contents)
    if OVERVIEW in packed.missing:
        raise UsageError(
            f"nothing fits into {max_bytes:,} bytes",
            f"the page takes {frame.bytes:,} of them",
            "give a larger --max-size, or less with --only",
        )
    left_out = packed.left_out(len(contents.processes))
    index = shapes.ReportFacts(
        made=datetime.now(UTC).isoformat(timespec="seconds"), redacted=hidden, only=list(only), left_out=left_out
    )
    packed.finish(msgspec.structs.replace(_index(contents), report=index))
    title = "Cutaway report" if hidden else f"Cutaway: {contents.index.title}"
    html = frame.html(title, packed.paths, packed.chunks).encode()
    names_hidden = redactor.hidden if redactor is not None else ()
    return Report(html, len(packed.paths), tuple(left_out), hidden, names_hidden, tuple(packed.chunks))


def _index(contents: Contents) -> shapes.Index:
    """The index with what the report holds alone."""
    index = contents.index
    held = {(each.run, each.name) for each in contents.processes}
    runs = [
        shapes.RunName(run.name, [each for each in run.processes if (run.name, each.name) in held])
        for run in index.runs
        if any(run.name == name for name, _ in held)
    ]
    return msgspec.structs.replace(index, runs=runs, live=False, growing=False)


def _own_names() -> list[str]:
    """Of this machine and its user."""
    found = [socket.gethostname()]
    with suppress(Exception):  # a user without a name
        found.append(getpass.getuser())
    return [name for name in found if name not in ("root", "localhost")]


class _Packed:
    """Chunks as they fill up.

    Args:
        room: bytes that all of them may take.
        redactor: what takes names out; None for nothing.
    """

    def __init__(self, room: int, redactor: Redactor | None) -> None:
        self.chunks: list[str] = []
        self.paths: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        self.unreadable: dict[str, int] = {}
        self._room = room
        self._redactor = redactor

    def add(self, name: str, paths: Sequence[str], contents: Contents) -> None:
        """Take resources in, as long as there is room."""
        waiting: dict[str, msgspec.Raw] = {}
        size = 0
        for place, path in enumerate(paths):
            found = contents.get(path)
            if found is None:
                self.unreadable[name] = self.unreadable.get(name, 0) + 1
                continue
            encoded = msgspec.json.encode(self._redacted(found))
            if size and size + len(encoded) > ROOM:
                if not self._close(waiting):
                    self.missing[name] = len(waiting) + len(paths) - place
                    return
                waiting, size = {}, 0
            waiting[self._path(path)] = msgspec.Raw(encoded)
            size += len(encoded)
        if waiting and not self._close(waiting):
            self.missing[name] = len(waiting)

    def finish(self, index: shapes.Index) -> None:
        """The index, for which room was kept."""
        self.paths["index"] = len(self.chunks)
        self.chunks.append(chunk({"index": self._redacted(index)}))

    def left_out(self, processes: int) -> list[shapes.LeftOut]:
        """What is not in the report, in words."""
        cure = "the size limit; `cutaway view` shows it, or --max-size makes room"
        found = [shapes.LeftOut(_counted(name, count), cure) for name, count in self.missing.items()]
        damaged = "the dump cannot give it: see `cutaway verify`"
        found += [shapes.LeftOut(_counted(name, count), damaged) for name, count in self.unreadable.items()]
        if processes > 2:
            found.append(
                shapes.LeftOut("comparisons of other than the first process", "a report holds those with the first one")
            )
        return found

    def _close(self, waiting: dict[str, msgspec.Raw]) -> bool:
        """Make a chunk of what waits; False when there is no room for it."""
        text = chunk(waiting)
        needed = len(text) + sum(len(path.encode()) + DIRECTORY for path in waiting) + 100
        if needed > self._room:
            return False
        self._room -= needed
        self.paths.update(dict.fromkeys(waiting, len(self.chunks)))
        self.chunks.append(text)
        return True

    def _redacted(self, found: Any) -> Any:
        return found if self._redactor is None else self._redactor.resource(found)

    def _path(self, path: str) -> str:
        return path if self._redactor is None else self._redactor.path(path)


def _counted(name: str, count: int) -> str:
    return f"{name} ({count})"
