"""Is a dump whole? Every file that was announced is there, unchanged, and is what its name says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from cutaway.dump import schema
from cutaway.dump.folder import ProcessFolder
from cutaway.dump.locate import MANIFEST, locate
from cutaway.dump.manifest import TORN, Line, read_lines
from cutaway.dump.tables import decode_table
from cutaway.errors import DumpError
from cutaway.record.fingerprint import fingerprint

PAGES = ("index.md", "README.md")
"""Files that are written for people and may be written again: not announced."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: a "problem" means that the dump is not whole; a "note" is worth knowing.
        kind: what sort of thing, in one word: manifest, missing, changed, table, reference, unannounced,
            unsafe, left-out, temporary.
        where: the file, the line or the selector.
        message: what is wrong, in words.
    """

    level: Literal["problem", "note"]
    kind: str
    where: str
    message: str


@dataclass
class Report:
    """What was found in one process folder.

    Attributes:
        run, process: the names of the folders.
        complete: whether the recording came to its end.
        files, bytes, tables: how many files were checked, their length, and the node tables among them.
        findings: what was found; empty when the dump is whole.
    """

    run: str
    process: str
    complete: bool = False
    files: int = 0
    bytes: int = 0
    tables: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not any(finding.level == "problem" for finding in self.findings)


def verify(path: str | os.PathLike[str], run: str | None = None, rank: str | None = None) -> list[Report]:
    """Check a dump: all its runs and processes, or those that are named.

    Args:
        path, run, rank: as for `load`.

    Returns:
        A report for each process.

    Raises:
        DumpError, SchemaError, SelectorError, UsageError: as for `load`; a broken manifest is no error here
            but a finding.
    """
    first = locate(path, run, rank)
    reports: list[Report] = []
    for name in first.runs if run is None else (first.run,):
        location = locate(path, name, rank)
        for process in location.processes if rank is None else (location.process,):
            folder = ProcessFolder(location.folder.parent / process)
            reports.append(_Check(folder, Report(name, process)).run())
    return reports


class _Check:
    """The check of one process folder."""

    def __init__(self, folder: ProcessFolder, report: Report) -> None:
        self.folder = folder
        self.report = report
        self.announced: set[str] = {MANIFEST}
        self.steps: dict[str, schema.SnapshotTaken | schema.CodeWritten] = {}

    def run(self) -> Report:
        lines = list(read_lines(self.folder.read(MANIFEST)))
        self._lines(lines)
        for line in lines:
            if isinstance(line.event, (schema.SnapshotTaken, schema.CodeWritten)):
                self._step(line.event)
            elif isinstance(line.event, schema.InputsKept):
                self._inputs(line.event)
            elif isinstance(line.event, schema.Run) and line.event.context is not None:
                self.announced.add(line.event.context)
                self._exists(line.event.context)
            elif isinstance(line.event, schema.End) and line.event.compilation is None:
                self.report.complete = True
        self._leftovers()
        return self.report

    def _problem(self, kind: str, where: str, message: str) -> None:
        self.report.findings.append(Finding("problem", kind, where, message))

    def _note(self, kind: str, where: str, message: str) -> None:
        self.report.findings.append(Finding("note", kind, where, message))

    def _lines(self, lines: list[Line]) -> None:
        """Every line can be read, the first is the run's, and they are numbered without gaps."""
        expected = 0
        for line in lines:
            where = f"{MANIFEST}:{line.number}"
            if line.torn:
                self._note("manifest", where, TORN)
                continue
            if line.problem:
                self._problem("manifest", where, line.problem)
            elif line.event is None:
                self._note("manifest", where, "a kind of event that this Cutaway does not know")
            if line.seq is not None and line.seq != expected:
                self._problem("manifest", where, f"event {expected} should stand here, but it is event {line.seq}")
            expected = (line.seq if line.seq is not None else expected) + 1
        if not any(isinstance(line.event, schema.Run) for line in lines[:1]):
            self._problem("manifest", f"{MANIFEST}:1", "the first event does not say which run this is")

    def _step(self, step: schema.SnapshotTaken | schema.CodeWritten) -> None:
        if step.selector in self.steps:
            self._problem("manifest", step.selector, "two snapshots or texts have this name")
        for file in step.files:
            self._file(file, step)
        if step.same_as is not None:
            self._same(step, step.same_as)
        elif not step.files:
            self._note("left-out", step.selector, "its files were left out while recording")
        if isinstance(step, schema.SnapshotTaken) and step.origins is not None:
            self._origins(step, len(step.origins))
        self.steps[step.selector] = step

    def _inputs(self, kept: schema.InputsKept) -> None:
        """The files of a graph's inputs; several graphs may share one."""
        for file in kept.files:
            if file.path not in self.announced:
                self._file(file, None)
        named = {file.path for file in kept.files}
        for place, one in enumerate(kept.inputs):
            if one.file is not None and one.file not in named:
                self._problem("reference", kept.selector, f"input {place} is in {one.file!r}, which is not announced")

    def _same(self, step: schema.SnapshotTaken | schema.CodeWritten, name: str) -> None:
        """What a step is said to be the same as came before it, and is the same."""
        other = self.steps.get(name)
        if other is None or not other.files:
            self._problem("reference", step.selector, f"is the same as {name!r}, which the dump does not have")
        elif isinstance(step, schema.SnapshotTaken) and step.graph != getattr(other, "graph", None):
            self._problem("reference", step.selector, f"is not the same graph as {name!r}")

    def _origins(self, step: schema.SnapshotTaken, count: int) -> None:
        if count != step.node_count:
            self._problem("reference", step.selector, f"has origins for {count} nodes, but {step.node_count} nodes")

    def _file(self, file: schema.File, step: schema.SnapshotTaken | schema.CodeWritten | None) -> None:
        """A file is there, and is the file that was announced."""
        self.announced.add(file.path)
        content = self._exists(file.path)
        if content is None:
            return
        self.report.files += 1
        self.report.bytes += len(content)
        if len(content) != file.bytes:
            self._problem("changed", file.path, f"has {len(content)} bytes, {file.bytes} were announced")
        elif blake2b(content, digest_size=16).hexdigest() != file.digest:
            self._problem("changed", file.path, "its bytes are not those that were announced")
        elif file.kind == "nodes" and isinstance(step, schema.SnapshotTaken):
            self._table(content, file.path, step)

    def _table(self, content: bytes, path: str, step: schema.SnapshotTaken) -> None:
        """A node table is sound, and is the graph that its name and the snapshot say."""
        self.report.tables += 1
        try:
            table, plain = decode_table(content, path)
        except DumpError as error:
            self._problem("table", path, error.why or error.what)
            return
        try:
            found = fingerprint(plain)
        except Exception as error:  # noqa: BLE001  (whatever about an untrusted table breaks it is a finding)
            self._problem("table", path, f"its fingerprint cannot be computed: {type(error).__name__}: {error}")
            return
        names = {"its own": table.fingerprint, "the snapshot's": step.graph, "the file's": _stem(path)}
        for whose, name in names.items():
            if name != found:
                self._problem("table", path, f"has the fingerprint {found}, but {whose} name is {name}")
        if len(table.nodes) != step.node_count:
            self._problem("table", path, f"has {len(table.nodes)} nodes, the snapshot says {step.node_count}")

    def _exists(self, path: str) -> bytes | None:
        try:
            return self.folder.read(path)
        except DumpError as error:
            missing = "is missing" in error.what
            self._problem("missing" if missing else "unsafe", path, "is missing" if missing else error.why)
            return None

    def _leftovers(self) -> None:
        """Files that nothing announced: of a process that was killed they are to be expected."""
        for path in sorted(_files_below(self.folder)):
            name = path.rpartition("/")[2]
            if path in self.announced or name in PAGES:
                continue
            if name.startswith(".") and name.endswith(".tmp"):
                self._note("temporary", path, "left by a write that was cut off; it can be deleted")
            elif self.report.complete:
                self._problem("unannounced", path, "no event announces this file")
            else:
                self._note("unannounced", path, "written, but the process was stopped before it was announced")


def _files_below(folder: ProcessFolder) -> Iterator[str]:
    for parent, _, names in os.walk(folder.path):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), folder.path).replace(os.sep, "/")  # noqa: PTH118


def _stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]
