"""Two snapshots, or several pairs of them, compared."""

from __future__ import annotations

from collections.abc import Sequence

from cutaway.dump.diff.course import chain, stems
from cutaway.dump.diff.fold import Found, find, fold
from cutaway.dump.diff.match import Pairing, pair_by_origin, pair_by_structure
from cutaway.dump.diff.result import Diff, Part
from cutaway.dump.diff.terms import Labels
from cutaway.dump.schema import NodeTable
from cutaway.dump.snapshot import Snapshot


def diff(before: Snapshot, after: Snapshot) -> Diff:
    """What differs between two graphs, node by node.

    Where one snapshot comes from the other, through however many passes, it goes by the origins that were recorded;
    otherwise by structure (`match_nodes`), never by names alone.

    Args:
        before, after: snapshots of one dump or of two.

    Returns:
        The rewrites that turn one graph into the other, folded over identical layers. Empty for graphs that are
        equal up to names and an order that makes no difference; `diff(after, before)` is the inverse.

    Raises:
        DumpError: a graph is not in its dump, or cannot be read.
    """
    return diff_pairs([(before, after)])


def diff_pairs(pairs: Sequence[tuple[Snapshot, Snapshot]]) -> Diff:
    """The difference of several pairs of graphs, such as the pieces of a split model, folded over all of them.

    Args:
        pairs: snapshots before and after, at least one pair.

    Raises:
        DumpError: a graph is not in its dump, or cannot be read.
    """
    labels = Labels()
    parts: list[Part] = []
    found: list[Found] = []
    for before, after in pairs:
        tables = before.table, after.table
        pairing, recorded = _pair(before, after, tables)
        found += find(pairing, len(parts), labels, (before.providers, after.providers))
        parts.append(Part(before, after, tables, pairing.result(), recorded))
    sizes = [pair for part in parts for pair in part.matching.sizes if not all(isinstance(each, str) for each in pair)]
    return Diff(tuple(parts), fold(found), tuple(dict.fromkeys(sizes)))


def _pair(before: Snapshot, after: Snapshot, tables: tuple[NodeTable, NodeTable]) -> tuple[Pairing, bool]:
    """Which node is which, and whether that was recorded."""
    steps = chain(before, after)
    origins = stems(steps) if steps else None
    if origins is not None:
        return pair_by_origin(*tables, origins), True
    steps = chain(after, before)
    origins = stems(steps) if steps else None
    if origins is not None:
        return pair_by_origin(tables[1], tables[0], origins).inverse(), True
    return pair_by_structure(*tables), False
