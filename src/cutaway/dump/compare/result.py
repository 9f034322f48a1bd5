"""What comparing two runs says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cutaway.dump.compare.compilations import Comparer, CompilationPair, match_compilations
from cutaway.dump.compare.settings import Setting, configuration, versions
from cutaway.dump.compare.totals import Total, totals
from cutaway.dump.reader import Dump
from cutaway.errors import DumpError

Kind = Literal["graphs", "kernels", "count"]
KINDS: tuple[Kind, ...] = ("graphs", "kernels", "count")


@dataclass(frozen=True)
class Comparison:
    """Two processes compared.

    Attributes:
        a, b: the dumps.
        versions, configuration: what differs of them.
        compilations: each compilation of either run.
        totals: numbers side by side.
        notes: what is unusual and bears on the comparison.
    """

    a: Dump
    b: Dump
    versions: list[Setting]
    configuration: list[Setting]
    compilations: list[CompilationPair]
    totals: list[Total] = field(default_factory=list[Total])
    notes: list[str] = field(default_factory=list[str])

    @cached_property
    def same_graphs(self) -> bool:
        """Whether every graph at every stage is the same."""
        return all(pair.same for pair in self.compilations)

    @cached_property
    def same_kernels(self) -> bool:
        """Whether all generated code is the same, but for names and folders in it."""
        return all(pair.same_texts for pair in self.compilations)

    @cached_property
    def same_counts(self) -> bool:
        """Whether there are as many compilations, pieces, ranges, nodes and kernels."""
        return all(total.a == total.b for total in self.totals if total.counts)

    def differs(self, kinds: Iterable[Kind] = ("graphs",)) -> bool:
        """Whether the runs differ in any of these."""
        same = {"graphs": self.same_graphs, "kernels": self.same_kernels, "count": self.same_counts}
        return not all(same[kind] for kind in kinds)


def compare(a: Dump, b: Dump) -> Comparison:
    """Compare what two processes compiled.

    Compilations are matched by name, then by what was captured; pieces in model order by what is in them, never by
    their numbers alone; ranges by name, then by the sizes that they have in common; passes by name and order.

    Args:
        a, b: any two dumps: of two runs, configurations, versions or ranks.

    Returns:
        What is the same and what is not. Graphs are the same when their fingerprints are; what differs between two
        graphs that are not, `cutaway.dump.diff.diff` says.

    >>> compare(dump, dump.sibling("rank_1_dp_0")).same_graphs
    True
    """
    comparer = Comparer()
    pairs = match_compilations(list(a), list(b))
    return Comparison(
        a,
        b,
        versions(a, b),
        configuration(a, b),
        [comparer.pair(one, other) for one, other in pairs],
        totals(a, b),
        [*_notes(a, "A"), *_notes(b, "B")],
    )


def _notes(dump: Dump, name: str) -> Iterator[str]:
    yield from (f"{name}: {note}" for note in dump.notes)
    try:
        if not dump.context:
            yield f"{name}: it has no context.json, so its configuration is unknown"
    except DumpError as error:
        yield f"{name}: its configuration is unknown: {error}"
    for compilation in dump:
        if compilation.failed:
            yield f"{name}: {compilation.name} failed: {compilation.failed.splitlines()[0]}"
        if compilation.codes and not compilation.snapshots:
            yield f"{name}: {compilation.name} was loaded from a cache: it has code and no graphs"
