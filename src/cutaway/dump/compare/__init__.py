"""Two runs, ranks or configurations compared: what is the same, what differs, and in what.

compilations ──match──► pieces ──align──► ranges ──match──► stages ──align──► the first graph that differs

>>> found = compare(dump, dump.sibling("rank_1_dp_0"))
>>> found.same_graphs, found.same_kernels, found.same_counts
(True, True, True)
>>> [(group.shown, group.others) for group in compare_ranks(dump).groups]
[('rank_0_dp_0', ('rank_1_dp_0',))]
"""

from __future__ import annotations

from cutaway.dump.compare.compilations import CompilationPair, Compiled, PieceGroup
from cutaway.dump.compare.course import Course, Span, Step, StepPair
from cutaway.dump.compare.difference import difference
from cutaway.dump.compare.figures import Figures, FiguresPair
from cutaway.dump.compare.pieces import RangePair, by_size
from cutaway.dump.compare.ranks import RankGroup, Ranks, compare_ranks, compare_runs
from cutaway.dump.compare.result import KINDS, Comparison, Kind, compare
from cutaway.dump.compare.settings import Setting
from cutaway.dump.compare.totals import Total
from cutaway.dump.compare.verdict import verdict

__all__ = [
    "KINDS",
    "Comparison",
    "CompilationPair",
    "Compiled",
    "Course",
    "Figures",
    "FiguresPair",
    "Kind",
    "PieceGroup",
    "RangePair",
    "RankGroup",
    "Ranks",
    "Setting",
    "Span",
    "Step",
    "StepPair",
    "Total",
    "by_size",
    "compare",
    "compare_ranks",
    "compare_runs",
    "difference",
    "verdict",
]
