"""The processes of one run, and of two: those that compiled the same together."""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.dump.compare.result import Comparison, compare
from cutaway.dump.fold import fold_ranks
from cutaway.dump.reader import Dump


@dataclass(frozen=True)
class RankGroup:
    """Processes that recorded the same graphs.

    Attributes:
        shown: the first of them.
        others: the others, in order.
        comparison: how they differ from those that most processes are like; None for these themselves.
    """

    shown: str
    others: tuple[str, ...]
    comparison: Comparison | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.shown, *self.others)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        dump: the run, at any of its processes.
        groups: the odd ones first, those that most are like last.
    """

    dump: Dump
    groups: list[RankGroup]

    @property
    def same(self) -> bool:
        """Whether all recorded the same graphs."""
        return len(self.groups) < 2


def compare_ranks(dump: Dump) -> Ranks:
    """Group the processes of a run by what they compiled.

    Args:
        dump: the run, at any of its processes.

    Raises:
        DumpError: one of them cannot be read.

    >>> compare_ranks(dump).same
    True
    """
    folded = sorted(fold_ranks(dump), key=lambda same: 1 + len(same.others))
    usual = max(folded, key=lambda same: 1 + len(same.others))
    home = _process(dump, usual.shown)
    odd = [same for same in folded if same is not usual]
    groups = [RankGroup(same.shown, same.others, compare(home, _process(dump, same.shown))) for same in odd]
    return Ranks(dump, [*groups, RankGroup(usual.shown, usual.others)])


def compare_runs(a: Dump, b: Dump) -> list[tuple[tuple[str, ...], Comparison]]:
    """Compare the processes of two runs, rank by rank; those of which the same is to be said once.

    Args:
        a, b: the runs, at any of their processes. When either is of one process alone, these two are compared.

    Returns:
        Names of processes, and how they differ. Processes that only one run has are in none.

    Raises:
        DumpError: one of them cannot be read.
    """
    if len(a.processes) < 2 or len(b.processes) < 2:
        return [((a.process,), compare(a, b))]
    ours, theirs = (
        {name: same.shown for same in fold_ranks(dump) for name in (same.shown, *same.others)} for dump in (a, b)
    )
    pairs: dict[tuple[str, str], list[str]] = {}
    for name in ours:
        if name in theirs:
            pairs.setdefault((ours[name], theirs[name]), []).append(name)
    if not pairs:
        return [((a.process,), compare(a, b))]
    return [(tuple(names), compare(_process(a, names[0]), _process(b, names[0]))) for names in pairs.values()]


def _process(dump: Dump, name: str) -> Dump:
    return dump if name == dump.process else dump.sibling(name)
