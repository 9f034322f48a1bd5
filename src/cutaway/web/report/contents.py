"""What goes into a report, in the order in which it matters: what is left when it must be short comes last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from cutaway.dump import Code, Compilation, Snapshot
from cutaway.dump.select import matching, unknown
from cutaway.errors import CutawayError
from cutaway.web.data import Library, Process, shapes
from cutaway.web.report.part import Part


@dataclass(frozen=True)
class Section:
    """Resources of one kind, kept or left out one by one.

    Attributes:
        name: what they are, in words.
        paths: where they are found.
    """

    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """A process, and the part of it that is wanted.

    Attributes:
        run, name: the names of its run and itself.
        process: what it recorded.
        part: selectors; None for all.
    """

    run: str
    name: str
    process: Process
    part: Part | None

    @property
    def start(self) -> str:
        """What the paths of its resources begin with."""
        return f"{self.run}/{self.name}"


class Contents:
    """The resources of a report.

    Args:
        library: the dump.
        only: selectors, or parts of them; empty for everything.

    Raises:
        SelectorError: one of them names nothing.
        DumpError: the dump cannot be read.
    """

    def __init__(self, library: Library, only: Sequence[str] = ()) -> None:
        self._library = library
        self.index = library.index()
        first = self._chosen(self.index.run, self.index.process, only)
        self.processes = [first, *(self._chosen(first.run, each.name, only) for each in self._others(first))]
        other = self.index.against
        self.against: list[Chosen] = []
        if other is not None:
            second = self._chosen(other.run, other.process, ())
            names = [second.name, *(each.name for each in self._others(second))]
            self.against = [self._beside(other.run, name, only) for name in names]
            self.processes += self.against

    def _chosen(self, run: str, name: str, only: Sequence[str]) -> Chosen:
        process = self._library.process(run, name)
        return Chosen(run, name, process, part_of(process, only) if only else None)

    def _beside(self, run: str, name: str, only: Sequence[str]) -> Chosen:
        """A process of the other dump, which may lack some of what is wanted, or all of it."""
        process = self._library.process(run, name)
        known = [step.selector for compilation in process.dump for step in compilation.steps]
        there = [selector for selector in only if _named(selector, known)]
        part = Part(frozenset(), frozenset(), frozenset()) if only else None
        return Chosen(run, name, process, part_of(process, there) if there else part)

    def _others(self, first: Chosen) -> list[shapes.ProcessName]:
        """The processes of a run that did not compile the same as one of them."""
        names = next(run.processes for run in self._library.index().runs if run.name == first.run)
        return [each for each in names if each.name != first.name and first.name not in each.same]

    def sections(self) -> Iterator[Section]:
        """All that could go in, what matters first."""
        kinds: dict[str, list[str]] = {}
        for number, chosen in enumerate(self.processes):
            for kind, path in self._of(chosen):
                name = _of(kind, number, chosen)
                kinds.setdefault(name, []).append(path)
        order = [_of(kind, number, chosen) for number, chosen in enumerate(self.processes) for kind in KINDS]
        for name in order:
            if name in kinds:
                yield Section(name, tuple(kinds[name]))
        if len(self.processes) > 1:
            yield Section("what differs between the processes", tuple(self._between()))

    def get(self, path: str) -> Struct | None:
        """A resource, cut down to the part that is wanted; None when the dump cannot give it."""
        try:
            found = self._library.get(path)
        except CutawayError:
            return None
        chosen = next(each for each in self.processes if path.startswith(f"{each.start}/"))
        return found if chosen.part is None else chosen.part.of(found)

    def _of(self, chosen: Chosen) -> Iterator[tuple[str, str]]:
        start, process, part = chosen.start, chosen.process, chosen.part
        yield OVERVIEW, f"{start}/overview"
        yield SEARCH, f"{start}/search"
        for fingerprint, snapshots in process.graphs.items():
            if part is None or any(part.has(each.selector) for each in snapshots):
                yield GRAPHS, f"{start}/graph/{fingerprint}"
        for compilation in process.dump:
            if part is not None and compilation.name not in part.compilations:
                continue
            yield OVERVIEW, f"{start}/steps/{compilation.name}"
            yield OVERVIEW, f"{start}/lineage/{compilation.name}"
            for piece in process.pieces(compilation):
                if part is None or (compilation.name, piece.name) in part.pieces:
                    yield WAYS, f"{start}/lineage/{compilation.name}/{piece.name}"
            yield from self._steps(chosen, compilation)

    def _steps(self, chosen: Chosen, compilation: Compilation) -> Iterator[tuple[str, str]]:
        start = chosen.start
        for step in compilation.steps:
            if chosen.part is not None and not chosen.part.has(step.selector):
                continue
            if isinstance(step, Snapshot):
                yield GRAPHS, f"{start}/snapshot/{step.selector}"
                yield (STRUCTURED if step.same_as is None else REPEATED), f"{start}/layers/{step.selector}"
                if step.changed and step.stage != "piece" and chosen.process.before(step) is not None:
                    yield CHANGES, f"{start}/diff/{step.selector}"
                yield (RAW if step.same_as is None else REPEATED_RAW), f"{start}/text/raw/{step.selector}"
            elif isinstance(step, Code):
                yield (CODE if step.same_as is None else REPEATED_CODE), f"{start}/text/code/{step.selector}"

    def _pairs(self) -> Iterator[tuple[Chosen, Chosen]]:
        """Of one run the first process with each other; of two dumps those of one name, else the first with all."""
        first, *others = [each for each in self.processes if each not in self.against]
        yield from ((first, other) for other in others)
        for other in self.against:
            yield next((each for each in (first, *others) if each.name == other.name), first), other

    def _between(self) -> Iterator[str]:
        for first, other in self._pairs():
            path = f"{first.start}/compare/{other.start}"
            yield path
            found = self._library.get(path)
            if not isinstance(found, shapes.Comparison):
                continue
            for compilation in found.compilations:
                for step in (step for piece in compilation.pieces for step in piece.steps):
                    wanted = first.part is None or first.part.has(step.a)
                    if wanted and not step.same and step.a is not None and step.b is not None:
                        yield f"{first.start}/between/{step.a}../{other.start}/{step.b}"


def _of(kind: str, number: int, chosen: Chosen) -> str:
    """What a section is called: of the first process just what it is."""
    return f"{kind} of {chosen.start}" if number else kind


def _named(selector: str, known: Sequence[str]) -> list[str]:
    return matching(selector, known) or [name for name in known if selector in name.split("/")]


OVERVIEW = "the overview"
CHANGES = "what each step changed"
STRUCTURED = "graphs nested by layer"
GRAPHS = "graphs node by node"
SEARCH = "the search"
CODE = "generated code"
WAYS = "lineage through the pieces"
REPEATED = "steps that changed nothing"
RAW = "raw graphs"
REPEATED_CODE = "code that is the same as other code"
REPEATED_RAW = "raw graphs that are the same as others"
KINDS = (
    OVERVIEW, CHANGES, STRUCTURED, GRAPHS, SEARCH, CODE, WAYS, REPEATED, RAW, REPEATED_CODE, REPEATED_RAW
)  # fmt: skip


def part_of(process: Process, only: Sequence[str]) -> Part:
    """The part of a process that selectors name, with what it takes to understand it.

    That is: the first graph of each compilation that has any of it, and, for a piece that was compiled with another
    one, that piece's steps.

    Raises:
        SelectorError: one of them names nothing.
    """
    steps = [step for compilation in process.dump for step in compilation.steps]
    known = [step.selector for step in steps]
    wanted: set[str] = set()
    for selector in only:
        found = _named(selector, known)
        if not found:
            raise unknown(selector, known)
        wanted.update(found)
    for compilation in process.dump:
        for piece in process.pieces(compilation):
            if not any(step.selector in wanted for step in piece.steps):
                continue
            for compile_range in piece.ranges or [each.range for each in steps if each.range is not None]:
                leader = process.leader(compilation, piece.name, compile_range)
                if leader != piece.name:
                    prefix = f"{compilation.name}/{leader}/range_{compile_range}/"
                    wanted.update(name for name in known if name.startswith(prefix))
    with_any = {step.compilation for step in steps if step.selector in wanted}
    for compilation in process.dump:
        if compilation.name in with_any and compilation.snapshots:
            wanted.add(compilation.snapshots[0].selector)
    pieces = {(step.compilation or "", step.piece) for step in steps if step.selector in wanted and step.piece}
    return Part(frozenset(wanted), frozenset(name or "" for name in with_any), frozenset(pieces))
