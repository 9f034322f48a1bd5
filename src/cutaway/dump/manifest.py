"""manifest.jsonl as events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cutaway.dump import schema
from cutaway.dump.folder import ProcessFolder
from cutaway.dump.locate import MANIFEST
from cutaway.errors import DumpError, SchemaError

TORN = "the last line is torn: the process was stopped while it wrote; the line is left out"


@dataclass(frozen=True)
class Line:
    """One line of a manifest.

    Attributes:
        number: counted from 1.
        event: what it says; None when it is broken or of a kind that this Cutaway does not know.
        seq: its `seq`, as far as it can be read.
        problem: why it is broken; empty when it is not.
        torn: it is the last line, and was cut off.
    """

    number: int
    event: schema.Event | None = None
    seq: int | None = None
    problem: str = ""
    torn: bool = False


def read_lines(content: bytes, kinds: Any = schema.AnyEvent) -> Iterator[Line]:
    """The lines of a manifest, broken ones included.

    Args:
        content: the whole file.
        kinds: a union of event types to decode into.

    Raises:
        SchemaError: the dump was made by a newer Cutaway.
    """
    decoder = msgspec.json.Decoder(kinds)
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line:
            return
        try:
            event: schema.Event = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield _undecoded(number, line, str(error), last=number == len(lines))
            continue
        if isinstance(event, schema.Run):
            check_schema(event.schema)
        yield Line(number, event, event.seq)


def read_events(
    content: bytes, kinds: Any = schema.AnyEvent, first: int = 1
) -> tuple[Sequence[schema.Event], list[str]]:
    """The events of a manifest that can be read whole, and notes about what was left out.

    Args:
        content: the file, or what was added to it.
        kinds: a union of event types to decode into.
        first: the number of the first line in it.

    Raises:
        DumpError: a line is broken that is not the last one.
        SchemaError: the dump was made by a newer Cutaway.
    """
    events: list[schema.Event] = []
    notes: list[str] = []
    unknown = 0
    begun = first > 1
    for line in read_lines(content, kinds):
        if isinstance(line.event, schema.Run):
            if begun:
                where = first + line.number - 1
                notes.append(f"from line {where} on manifest.jsonl is another process's: that part is left out")
                break
            begun = True
        if line.problem:
            raise DumpError(
                f"manifest.jsonl is broken in line {first + line.number - 1}",
                line.problem,
                "run `cutaway verify` to see all of it, and get the file again from where it was recorded",
            )
        if line.torn:
            notes.append(TORN)
        elif line.event is None:
            unknown += 1
        else:
            events.append(line.event)
    if unknown:
        events_are = "event is of a kind" if unknown == 1 else "events are of kinds"
        notes.append(f"{unknown} {events_are} that this Cutaway does not know")
    return events, notes


class Manifest:
    """The manifest of a process folder, as far as it has been read.

    Args:
        folder: of the process.
        kinds: a union of event types to decode into.
    """

    def __init__(self, folder: ProcessFolder, kinds: Any) -> None:
        self._folder = folder
        self._kinds = kinds
        self._bytes = 0  # up to where it was taken in
        self._lines = 0  # how many ends of lines were in that
        self._unended = False  # its last line is whole, but for its end

    def read(self) -> tuple[Sequence[schema.Event], list[str]]:
        """Its events and notes; see :func:`read_events`. Raises DumpError and SchemaError."""
        content = self._folder.read(MANIFEST)
        events, notes = read_events(content, self._kinds)
        self._bytes = len(content) if TORN not in notes else content.rfind(b"\n") + 1
        self._lines = content.count(b"\n")
        self._unended = bool(content) and TORN not in notes and not content.endswith(b"\n")
        return events, notes

    def read_on(self) -> tuple[Sequence[schema.Event], list[str], int]:
        """What was added since: events, notes and how many lines; a last line that is not finished waits.

        Raises:
            DumpError: it is broken, or was replaced by a shorter one.
            SchemaError: the dump was made by a newer Cutaway.
        """
        added = self._folder.read_from(MANIFEST, self._bytes)
        added = added[: added.rfind(b"\n") + 1]
        lines = added.removeprefix(b"\n") if self._unended else added
        events, notes = read_events(lines, self._kinds, self._lines + 1 + self._unended)
        self._bytes, self._lines = self._bytes + len(added), self._lines + added.count(b"\n")
        self._unended = self._unended and not added
        return events, notes, lines.count(b"\n")


def check_schema(number: int) -> None:
    """Raises SchemaError when a file of this schema is too new to be read."""
    if number > schema.SCHEMA:
        raise SchemaError(
            "this dump was made by a newer Cutaway",
            f"it has schema {number}, this one reads up to {schema.SCHEMA}",
            "upgrade: pip install --upgrade cutaway",
        )


class _Loose(msgspec.Struct):
    event: str
    seq: int | None = None
    schema: Any = None


_KINDS = ("run", "compilation", "snapshot", "pass", "code", "inputs", "cache", "metric", "error", "end")


def _undecoded(number: int, line: bytes, problem: str, last: bool) -> Line:
    """A line that is no known event: torn, of an unknown kind, from a newer schema, or broken."""
    try:
        loose = msgspec.json.decode(line, type=_Loose)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Line(number, torn=True) if last else Line(number, problem=problem)
    if loose.event == "run" and isinstance(loose.schema, int):
        check_schema(loose.schema)
    if loose.event in _KINDS:
        return Line(number, seq=loose.seq, problem=problem)
    return Line(number, seq=loose.seq)
