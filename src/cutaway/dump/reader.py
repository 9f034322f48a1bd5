"""The one reader of dumps.

    load(path) ──► Dump ──► Compilation ──► Piece
                     └─ find(selector) ──► Snapshot │ Code

    >>> dump = load("dump/")
    >>> for snapshot in dump["backbone"].piece(2).snapshots:
    ...     print(snapshot.selector, snapshot.node_count)
    backbone/piece_02/piece 5
    backbone/piece_02/range_1_4096/before_post_grad 5
    ...

A dump is untrusted: nothing in it is executed or unpickled, and no file outside it is read. Only the manifest
is read at once; graphs are read when they are asked for, and then kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cutaway.dump import schema
from cutaway.dump.compilation import Compilation, Piece, Step
from cutaway.dump.diff.select import Compared, compare_step, compare_steps
from cutaway.dump.folder import ProcessFolder
from cutaway.dump.frame import to_frame
from cutaway.dump.locate import Location, locate
from cutaway.dump.manifest import TORN, Manifest
from cutaway.dump.schema import NodeTable
from cutaway.dump.select import choose, matching, unknown
from cutaway.dump.snapshot import Code, Snapshot, announced
from cutaway.dump.tables import decode_table
from cutaway.dump.unfound import why_nothing
from cutaway.errors import DumpError, SelectorError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Code", "Compilation", "Dump", "Piece", "Snapshot", "load"]


def load(path: str | os.PathLike[str], run: str | None = None, rank: str | None = None) -> Dump:
    """Open a dump; needs no torch.

    Args:
        path: the dump's root, one of its runs or one of its process folders.
        run: which run, such as `run_001`; None for the newest.
        rank: which process, such as `rank_1_dp_0`; None for the first.

    Raises:
        DumpError: there is no dump, or its manifest is broken; a torn last line is only a note.
        SchemaError: it was made by a newer Cutaway.
        SelectorError: it has no such run or process.
    """
    return Dump(locate(path, run, rank))


INCOMPLETE = "incomplete: the process was killed before it said that it had ended, or still runs"

_Events = (
    schema.Run
    | schema.CompilationStarted
    | Snapshot
    | schema.PassRan
    | Code
    | schema.InputsKept
    | schema.CacheAsked
    | schema.Metric
    | schema.Failure
    | schema.End
)


class Dump:
    """What one process recorded.

    Attributes:
        path: the process folder.
        run, process: the names of the run's and the process's folders.
        runs, processes: what else there is to choose from.
        info: the event that says which program and which versions; None when the manifest lacks it.
        compilations: by name, in order.
        snapshots, codes: by selector, in order.
        inputs: the real inputs of compiled graphs, where the recording was to keep them.
        errors: where recording failed.
        notes: what is unusual about the dump, in words.
        complete: whether the recording came to its end; False when the process was killed, or still runs.
    """

    def __init__(self, location: Location) -> None:
        self.path = location.folder
        self.run, self.process = location.run, location.process
        self.runs, self.processes = location.runs, location.processes
        self.info: schema.Run | None = None
        self.compilations: dict[str, Compilation] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.codes: dict[str, Code] = {}
        self.inputs: list[schema.InputsKept] = []
        self.caches: list[schema.CacheAsked] = []
        self.metrics: list[schema.Metric] = []
        self.errors: list[schema.Failure] = []
        self.complete = False
        self._folder = ProcessFolder(location.folder)
        self._tables: dict[str, tuple[NodeTable, dict[str, Any]]] = {}
        self._manifest = Manifest(self._folder, _Events)
        events, self.notes = self._manifest.read()
        self._take_all(events)

    def read_on(self) -> int:
        """Take in what was added to the manifest since it was read; a last line that is not finished waits.

        Returns:
            How many lines came.

        Raises:
            DumpError: the manifest is broken, or was replaced by a shorter one: then load the dump again.
        """
        events, notes, lines = self._manifest.read_on()
        if lines:
            self.notes = [*(note for note in self.notes if note not in (TORN, INCOMPLETE, *notes)), *notes]
            self._take_all(events)
        return lines

    @property
    def selectors(self) -> list[str]:
        """Everything that `find` can find, in order."""
        return [step.selector for name in self.compilations.values() for step in (*name.snapshots, *name.codes)]

    @cached_property
    def context(self) -> dict[str, Any]:
        """context.json: versions, command line, configuration, environment. Raises DumpError."""
        if self.info is None or self.info.context is None:
            return {}
        try:
            found = msgspec.json.decode(self._folder.read(self.info.context))
        except (msgspec.DecodeError, RecursionError) as error:
            raise DumpError(f"{self.info.context!r} is broken", str(error)) from error
        return found if isinstance(found, dict) else {}

    def __iter__(self) -> Iterator[Compilation]:
        return iter(self.compilations.values())

    def __getitem__(self, name: str) -> Compilation:
        """A compilation by its name. Raises SelectorError."""
        if name not in self.compilations:
            raise unknown(name, list(self.compilations))
        return self.compilations[name]

    def find(self, selector: str) -> Snapshot | Code:
        """What a selector, or any unambiguous part of one, names.

        Raises:
            SelectorError: it names nothing, or more than one thing.
        """
        known = self.selectors
        if not matching(selector, known):
            raise why_nothing(selector, known, list(self), self.snapshots.values())
        name = choose(selector, known)
        return self.snapshots[name] if name in self.snapshots else self.codes[name]

    def code_of(self, snapshot: Snapshot) -> Code:
        """The code that a graph became: of its piece and range, or of the whole graph.

        For a repeated piece it is the code of the piece it repeats; for a whole graph that was split, the
        stitching code.

        Raises:
            SelectorError: there is none, or one for each of several ranges.
        """
        compilation = self[snapshot.compilation or ""]
        pieces = {None: None} | {piece.name: piece.same_as or piece.name for piece in compilation.pieces}
        found = [
            code
            for code in compilation.codes
            if code.kind in ("output_code", "execution_code")
            and code.piece == pieces.get(snapshot.piece)
            and snapshot.range in (None, code.range)
            and (snapshot.phase not in ("forward", "backward") or code.phase in (None, snapshot.phase))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            return self.codes[choose(found[0].piece or compilation.name, [code.selector for code in found])]
        raise SelectorError(
            f"no code was recorded for {snapshot.selector!r}",
            "the process was stopped before, a filter left it out, or another process compiled it",
            f"see `cutaway ls` for the code of {compilation.name!r} that there is",
        )

    def diff(self, selector: str, other: str | None = None, ranges: Sequence[str] = ()) -> list[Compared]:
        """What a pass or a stage changed, or what differs from one stage to another: node by node, folded over layers.

        Args:
            selector: names a snapshot, or the same step in several pieces and ranges of a split model.
            other: a second one, to compare the first with; None for the graphs before the first.
            ranges: only these compile ranges; empty for all.

        Returns:
            One comparison for each range that differs from those before it.

        Raises:
            SelectorError: nothing is called so, or things that are no one step.
            DumpError: a graph cannot be read.

        >>> for found in dump.diff("lowering", ranges=["1_4096"]):
        ...     print(found.summary)
        ...     for rewrite in found.rewrites:
        ...         print(rewrite.often, rewrite.layers, rewrite.text)
        15 nodes, rms_norm −3, fused_norm +3
        ×3 ('layers.1', 'layers.2', 'layers.3') rms_norm → fused_norm
        """
        if other is None:
            return compare_step(self, selector, ranges)
        return compare_steps(self, selector, other, ranges)

    def to_frame(self, table: str = "nodes", selector: str | None = None) -> DataFrame:
        """The dump as a table, for pandas.

        Args:
            table: "nodes" (each node of each snapshot, under that snapshot's own layers), "snapshots", "passes"
                (also those that changed nothing) or "kernels" (each call of a kernel in generated code).
            selector: only of what this names; all that it fits.

        Returns:
            A row each; columns are called as in docs/dump-format.md. Lists stay lists; what is unknown is missing.

        Raises:
            UsageError: pandas is not installed, or there is no such table.
            SelectorError: the selector names nothing.
            DumpError: a graph is not in the dump.

        >>> frame = dump.to_frame("passes")
        >>> frame[frame.changed].groupby("pass").ms.sum().to_dict()
        {'VllmIRLoweringPass': 2.5}
        """
        return to_frame(self, table, selector)

    def sibling(self, process: str) -> Dump:
        """Another process of the same run. Raises DumpError."""
        folder = self.path.parent / process
        return Dump(Location(folder, self.run, process, self.runs, self.processes))

    def model(self, compilation: str | None) -> str | None:
        """The class of the model that a compilation is of; None when the dump does not say."""
        known = self.compilations.get(compilation or "")
        return known.model if known is not None else None

    def table(self, snapshot: Snapshot) -> tuple[NodeTable, dict[str, Any]]:
        """The node table in a snapshot's own files, as types and as plain JSON values. Raises DumpError."""
        if snapshot.graph not in self._tables:
            path = announced(snapshot, "nodes").path
            self._tables[snapshot.graph] = decode_table(self._folder.read(path), path)
        return self._tables[snapshot.graph]

    def file(self, path: str) -> Path:
        """Where a file lies, by its path below the process folder. Raises DumpError when it leads out of there."""
        return self._folder.resolve(path)

    def read(self, path: str) -> bytes:
        """A file, by its path below the process folder. Raises DumpError when it leads out of there."""
        return self._folder.read(path)

    def _take_all(self, events: Iterable[schema.Event]) -> None:
        for event in events:
            self._take(event)
        if not self.complete:
            self.notes.append(INCOMPLETE)

    def _take(self, event: schema.Event) -> None:
        compilation = self._compilation(event.compilation) if event.compilation is not None else None
        if isinstance(event, schema.Run):
            self.info = self.info or event
        elif isinstance(event, schema.End):
            self.complete = self.complete or compilation is None
            if compilation is not None:
                compilation.finished = True
                compilation.failed = event.values.get("failed")
                compilation.restarted_as = event.values.get("restarted_as")
        elif isinstance(event, schema.InputsKept):
            self.inputs.append(event)
        elif isinstance(event, schema.CacheAsked):
            (compilation or self).caches.append(event)
        elif isinstance(event, schema.Metric):
            (compilation or self).metrics.append(event)
        elif isinstance(event, schema.Failure):
            (compilation or self).errors.append(event)
        elif isinstance(event, (Snapshot, Code, schema.PassRan, schema.CompilationStarted)):
            self._take_step(event, compilation or self._compilation(""))

    def _take_step(self, event: Step | schema.CompilationStarted, compilation: Compilation) -> None:
        if isinstance(event, schema.CompilationStarted):
            compilation.started = event
            return
        compilation.steps.append(event)
        if isinstance(event, Snapshot):
            event.attach(self)
            self.snapshots[event.selector] = event
        elif isinstance(event, Code):
            event.attach(self)
            self.codes[event.selector] = event

    def _compilation(self, name: str) -> Compilation:
        return self.compilations.setdefault(name, Compilation(name))
