"""Everything that the page can ask of a dump, by path: what the server answers and a report carries.

run_001/rank_0_dp_0/diff/backbone/piece_02/range_8_8/post_grad
└─ process ───────┘ └┬─┘ └─ selector ─────────────────────────┘
                  resource
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec import Struct

from cutaway.dump import Dump, Snapshot
from cutaway.dump.locate import Location, locate
from cutaway.errors import CutawayError, DumpError, SelectorError
from cutaway.web.data import shapes
from cutaway.web.data.comparison import comparison
from cutaway.web.data.difference import difference, step_difference
from cutaway.web.data.graph import graph, snapshot
from cutaway.web.data.growing import is_growing
from cutaway.web.data.layers import layers
from cutaway.web.data.overview import overview, rank_names
from cutaway.web.data.process import Process
from cutaway.web.data.search import search
from cutaway.web.data.steps import steps
from cutaway.web.data.text import text
from cutaway.web.data.ways import piece_ways, ways
from cutaway.web.data.words import cut

Resource = Callable[["Library", Process, str], Struct]


class Library:
    """The runs and processes of a dump; a process is read when it is asked for, and then kept.

    Args:
        path: a dump's root, one of its runs or one of its processes.
        run, rank: what is shown first; None for the newest run and the first process.
        against: another dump, to compare with; its runs are called `NAME:RUN`.
        called: the NAME; None for that of its folder.

    Raises:
        DumpError: there is no dump.
        SelectorError: it has no such run or process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        run: str | None = None,
        rank: str | None = None,
        *,
        against: str | os.PathLike[str] | None = None,
        called: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._first = locate(path, run, rank)
        self._asked = (run, rank)
        self._processes: dict[tuple[str, str], Process] = {}
        self.prefix = ""
        self.against = None if against is None else Library(against)
        if self.against is not None:
            self.against.prefix = f"{self._name_of(called or self.against.title)}:"

    @property
    def paths_watched(self) -> list[Path]:
        """The folders in which more may be recorded."""
        return [self.path, *([self.against.path] if self.against is not None else [])]

    @property
    def title(self) -> str:
        """What the dump is called."""
        return cut(self.path.resolve().name, 200)

    def _name_of(self, name: str) -> str:
        """What another dump is called: as no run of this one begins."""
        if name == self.title:
            name += " (B)"
        while any(run.startswith(f"{name}:") for run in self._first.runs):
            name += "'"
        return name

    def index(self, live: bool = False) -> shapes.Index:
        """What there is to choose from; looked up anew each time.

        Args:
            live: whether more may come.

        Raises:
            DumpError: the dump is gone.
        """
        first = self._now()
        runs = [shapes.RunName(self.prefix + name, self._names(name)) for name in reversed(first.runs)]
        other = self.against.index(live) if self.against is not None else None
        if self.against is not None and other is not None:
            runs += other.runs
        return shapes.Index(
            schema=1,
            cutaway=_version(),
            title=self.prefix[:-1] or self.title,
            runs=runs,
            run=self.prefix + first.run,
            process=first.process,
            live=live,
            growing=live and self._grows(first),
            report=None,
            against=None if other is None else shapes.Against(other.title, other.run, other.process),
        )

    def get(self, path: str, live: bool = False) -> Struct:
        """A resource by its path, as web/src/data/types.ts lists them.

        Raises:
            SelectorError: nothing is called so.
            DumpError: what is asked for cannot be read.
            UsageError: it makes no sense.
        """
        if path == "index":
            return self.index(live)
        run, _, rest = path.partition("/")
        process, _, rest = rest.partition("/")
        kind, _, what = rest.partition("/")
        make = _RESOURCES.get(kind)
        if make is None:
            raise SelectorError(
                f"there is no resource {cut(path, 200)!r}",
                "a path is RUN/PROCESS/KIND/…",
                f"the kinds are {', '.join(_RESOURCES)}",
            )
        return make(self, self.process(run, process), what)

    def process(self, run: str, process: str) -> Process:
        """A process by the names of its run and itself. Raises SelectorError, DumpError."""
        if self.against is not None and run.startswith(self.against.prefix):
            return self.against.process(run, process)
        key = (run.removeprefix(self.prefix), process)
        if key not in self._processes:
            self._processes[key] = Process(self._load(*key))
        return self._processes[key]

    def paths(self, run: str, process: str) -> Iterator[str]:
        """The paths of all resources of a process, for whoever wants to carry them along; those of graphs once each."""
        found = self.process(run, process)
        start = f"{run}/{process}"
        yield f"{start}/overview"
        yield f"{start}/search"
        yield from (f"{start}/graph/{fingerprint}" for fingerprint in found.graphs)
        for compilation in found.dump:
            yield f"{start}/steps/{compilation.name}"
            yield f"{start}/lineage/{compilation.name}"
            yield from (f"{start}/lineage/{compilation.name}/{piece.name}" for piece in found.pieces(compilation))
            for step in compilation.steps:
                if isinstance(step, Snapshot):
                    yield from (f"{start}/{kind}/{step.selector}" for kind in ("snapshot", "layers", "text/raw"))
                    if found.before(step) is not None:
                        yield f"{start}/diff/{step.selector}"
            yield from (f"{start}/text/code/{code.selector}" for code in compilation.codes)

    def read_on(self) -> bool:
        """Take in what was recorded since; returns whether anything was.

        A manifest that was replaced is read from its beginning; of one that is broken now, what was read stays, and a
        note says so.
        """
        changed = self.against.read_on() if self.against is not None else False
        for key, process in list(self._processes.items()):
            try:
                if not process.dump.read_on():
                    continue
                self._processes[key] = Process(process.dump)
            except DumpError as error:
                if str(error) in process.dump.notes:
                    continue
                process.dump.notes.append(str(error))
                self._again(key, process.dump)
            changed = True
        return changed

    def _again(self, key: tuple[str, str], dump: Dump) -> None:
        """Read a process from its beginning; else keep what was read, unless that cannot be shown."""
        del self._processes[key]
        try:
            self._processes[key] = Process(self._load(*key))
        except CutawayError:
            with suppress(DumpError):
                self._processes[key] = Process(dump)

    def names(self) -> object:
        """Equal as long as there are the same runs and processes, and the newest ones grow or do not; None when there
        is no dump any more."""
        try:
            first = self._now()
        except CutawayError:
            return None
        against = self.against.names() if self.against is not None else None
        return (first.runs, first.processes, self._grows(first), against)

    def _grows(self, first: Location) -> bool:
        """Whether a process of the run that is shown first, or of the dump compared with, still records."""
        if any(is_growing(first.folder.parent / name) for name in first.processes):
            return True
        return self.against is not None and self.against.index(live=True).growing

    def _now(self) -> Location:
        """What is shown first, as things stand; a newer run may lack the process that was asked for."""
        try:
            return locate(self.path, *self._asked)
        except SelectorError:
            return locate(self.path, self._first.run, self._first.process)

    def _load(self, run: str, process: str) -> Dump:
        is_first = (run, process) == (self._first.run, self._first.process)
        found = self._first if is_first else locate(self.path, run, process)
        return Dump(replace(found, run=self.prefix + run))

    def _names(self, run: str) -> list[shapes.ProcessName]:
        """The processes of a run; those that compiled the same are told for runs that were opened."""
        opened = next((process for (name, _), process in self._processes.items() if name == run), None)
        if opened is not None:
            return rank_names(opened.dump)
        try:
            return [shapes.ProcessName(name, []) for name in locate(self.path, run).processes]
        except CutawayError:
            return []


def _version() -> str:
    try:
        return version("cutaway")
    except PackageNotFoundError:
        return "(not installed)"


def _diff(library: Library, process: Process, what: str) -> Struct:
    before, after = _two(process, what)
    if after is None:
        return step_difference(process, before)
    return difference(process.snapshot(before), process.snapshot(after))


def _two(process: Process, what: str) -> tuple[str, str | None]:
    """A selector, or two with dots between them; a selector may itself have two dots in a row."""
    if ".." not in what or what in process.dump.snapshots:
        return what, None
    cuts = [place for place in range(len(what)) if what.startswith("..", place)]
    for place in cuts:
        if what[:place] in process.dump.snapshots and what[place + 2 :] in process.dump.snapshots:
            return what[:place], what[place + 2 :]
    return what[: cuts[0]], what[cuts[0] + 2 :]


def _between(library: Library, process: Process, what: str) -> Struct:
    selector, dots, rest = what.partition("../")
    run, _, rest = rest.partition("/")
    name, _, other = rest.partition("/")
    if not dots or not other:
        raise SelectorError(f"{cut(what, 200)!r} names no two graphs", "it is SELECTOR../RUN/PROCESS/SELECTOR")
    return difference(process.snapshot(selector), library.process(run, name).snapshot(other))


def _lineage(library: Library, process: Process, what: str) -> Struct:
    compilation, _, piece = what.partition("/")
    return piece_ways(process, compilation, piece) if piece else ways(process, compilation)


def _compare(library: Library, process: Process, what: str) -> Struct:
    run, __, name = what.partition("/")
    return comparison(process, library.process(run, name))


def _text(library: Library, process: Process, what: str) -> Struct:
    kind, _, selector = what.partition("/")
    return text(process, kind, selector)


_RESOURCES: dict[str, Resource] = {
    "overview": lambda _, process, __: overview(process),
    "steps": lambda _, process, what: steps(process, what),
    "graph": lambda _, process, what: graph(process, what),
    "snapshot": lambda _, process, what: snapshot(process, what),
    "layers": lambda _, process, what: layers(process, what),
    "text": _text,
    "diff": _diff,
    "lineage": _lineage,
    "search": lambda _, process, __: search(process),
    "compare": _compare,
    "between": _between,
}
"""Kind -> what makes it, of a process and what is left of the path."""
