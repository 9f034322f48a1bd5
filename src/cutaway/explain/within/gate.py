"""Which runs of passes are let through."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import fx

from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.explain.switches import Switches
from cutaway.explain.within.journal import Journal
from cutaway.record.context import where


class Gate:
    """Counts the runs of passes, and holds up those that are switched off.

    Args:
        switches: what is off.
        journal: every run is announced there before it begins.
    """

    def __init__(self, switches: Switches, journal: Journal) -> None:
        self.switches = switches
        self.journal = journal
        self._runs: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def run(self, name: str, always: bool = False) -> Generator[bool]:
        """Around the next run of a pass: whether it may go on.

        Args:
            name: of the pass.
            always: a compile cannot do without it: it is let through whatever the switches say.
        """
        with self._lock:
            self._runs[name] += 1
            run = self._runs[name]
        asked = name in self.switches.passes_off or run > self.switches.pass_limits.get(name, run)
        place = where()
        facts = {"name": name, "run": run, "off": asked and not always, "piece": place.piece, "range": place.range}
        self.journal.write("pass", **facts)
        yield always or not asked
        self.journal.write("pass_done", **facts)

    def cares_for(self, name: str) -> bool:
        """Whether a pass is switched off at all."""
        return name in self.switches.passes_off or name in self.switches.pass_limits


@dataclass(frozen=True)
class GatedPass(InductorPass):
    """A pass of our compiler behind the gate.

    Attributes:
        one: the pass.
        gate: asked before each run.
        always: it runs whatever the switches say.
    """

    one: InductorPass
    gate: Gate = field(compare=False)
    always: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.one.name)
        object.__setattr__(self, "produces", self.one.produces)

    def __call__(self, graph: fx.Graph) -> None:
        with self.gate.run(self.one.name, self.always) as is_let:
            if is_let:
                self.one(graph)

    def uuid(self) -> str | None:
        """That of the pass, when it may run; otherwise none, so that nothing of this is cached."""
        return None if self.gate.cares_for(self.one.name) and not self.always else self.one.uuid()

    def is_applicable_for_range(self, compile_range: object) -> bool:
        return self.one.is_applicable_for_range(compile_range)  # pyright: ignore[reportArgumentType]


def behind(gate: Gate, passes: Collection[InductorPass], always: Collection[str]) -> list[InductorPass]:
    """Passes of a round; those that a compile cannot do without are let through whatever the switches say."""
    return [GatedPass(one, gate, one.name in always) for one in passes]
