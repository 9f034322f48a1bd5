"""One process of a dump, and what is found out about it once and used by several views."""

from __future__ import annotations

from functools import cached_property

from cutaway.dump import Code, Compilation, Dump, Piece, Snapshot, schema
from cutaway.dump.compilation import Step
from cutaway.dump.lineage.calls import Calls
from cutaway.dump.lineage.trail import Trail
from cutaway.dump.query.kernels import Kernels
from cutaway.dump.query.view import compiled_together
from cutaway.dump.select import choose, matching, unknown
from cutaway.errors import DumpError, SelectorError
from cutaway.web.data.words import LONGEST, NAME, cut

Found = Snapshot | schema.PassRan | Code


class Process:
    """What a process recorded, as far as it was read.

    Args:
        dump: its dump. What is found out here stays as it is: when more is recorded, make another one.

    Raises:
        DumpError: a name in its manifest is longer than any that a compile makes; each is said of many things.
    """

    def __init__(self, dump: Dump) -> None:
        _check_names(dump)
        self.dump = dump
        self._pieces: dict[str, list[Piece]] = {}
        self._leaders: dict[str, dict[tuple[str, str | None], str]] = {}

    @cached_property
    def trail(self) -> Trail:
        """Which snapshot comes after which, and which node stems from which."""
        return Trail(self.dump)

    @cached_property
    def kernels(self) -> Kernels:
        """Which kernels a node is in."""
        return Kernels(self.dump)

    @cached_property
    def calls(self) -> Calls:
        """Where kernels are called."""
        return Calls(self.dump)

    @cached_property
    def graphs(self) -> dict[str, list[Snapshot]]:
        """Fingerprint -> the snapshots that have it, in order."""
        found: dict[str, list[Snapshot]] = {}
        for snapshot in self.dump.snapshots.values():
            found.setdefault(snapshot.graph, []).append(snapshot)
        return found

    def pieces(self, compilation: Compilation) -> list[Piece]:
        """The pieces of a compilation."""
        if compilation.name not in self._pieces:
            self._pieces[compilation.name] = compilation.pieces
        return self._pieces[compilation.name]

    def leader(self, compilation: Compilation, piece: str, compile_range: str | None) -> str:
        """The piece with which one was compiled for a range; itself when it was compiled by itself."""
        if compilation.name not in self._leaders:
            self._leaders[compilation.name] = {
                (other, name): first or other
                for (first, name), others in compiled_together(compilation).items()
                for other, _ in others
            }
        return self._leaders[compilation.name].get((piece, compile_range), piece)

    def compilation(self, name: str) -> Compilation:
        """A compilation by its name. Raises SelectorError."""
        return self.dump[name]

    @cached_property
    def _passes(self) -> dict[str, schema.PassRan]:
        return {step.selector: step for compilation in self.dump for step in compilation.passes}

    def find(self, selector: str) -> Found:
        """A snapshot, a pass or code, by its selector or an unambiguous part of it. Raises SelectorError."""
        exact = self.dump.snapshots.get(selector) or self.dump.codes.get(selector) or self._passes.get(selector)
        if exact is not None:
            return exact
        known = [*self.dump.selectors, *(name for name in self._passes if name not in self.dump.snapshots)]
        if len(selector) > LONGEST:
            raise SelectorError(f"nothing is called {cut(selector, NAME)!r}")
        if not matching(selector, known):
            raise unknown(selector, known)
        return self.find(choose(selector, known))

    def snapshot(self, selector: str) -> Snapshot:
        """A graph; for a pass that changed nothing the graph that it left as it was. Raises SelectorError."""
        found = self.find(selector)
        if isinstance(found, Code):
            raise SelectorError(f"{found.selector!r} is code, no graph", "", "open it as text")
        if isinstance(found, Snapshot):
            return found
        before = self.left_by(found)
        if before is None:
            raise DumpError(f"the graph before {found.selector!r} is not in this dump", "a filter left it out")
        return before

    def left_by(self, ran: schema.PassRan) -> Snapshot | None:
        """The graph that a pass worked on; None when it was not recorded."""
        return self._latest.get(ran.selector)

    @cached_property
    def _latest(self) -> dict[str, Snapshot]:
        """For each pass, the newest snapshot of its piece and range (or of the piece, before any range) before it."""
        found: dict[str, Snapshot] = {}
        for compilation in self.dump:
            newest: dict[tuple[str | None, str | None], Snapshot] = {}
            for step in compilation.steps:
                if isinstance(step, Snapshot):
                    newest[step.piece, step.range] = step
                elif isinstance(step, schema.PassRan):
                    before = newest.get((step.piece, step.range)) or newest.get((step.piece, None))
                    if before is not None:
                        found[step.selector] = before
        return found

    def before(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot that one comes from; None for the first of its compilation."""
        earlier = self.trail.before(self.trail.spot(snapshot))
        return earlier.snapshot if earlier is not None else None


def _check_names(dump: Dump) -> None:
    for compilation in dump:
        steps = (name for step in compilation.steps for name in (step.selector, step.piece or "", step.range or ""))
        longest = max((compilation.name, *steps), key=len)
        if len(longest) > LONGEST:
            raise DumpError(
                f"the manifest has a name of {len(longest)} characters: {cut(longest, 40)!r}",
                "no compile makes such names",
                "run `cutaway verify` to see what else is wrong",
            )


def leaf(step: Step) -> str:
    """The last part of a selector."""
    return step.selector.rpartition("/")[2]
