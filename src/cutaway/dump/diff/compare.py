"""Two snapshots, or several pairs of them, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cutaway.dump.diff.absent import with_absent
from cutaway.dump.diff.course import chain, stems
from cutaway.dump.diff.find import Found, find
from cutaway.dump.diff.fold import fold
from cutaway.dump.diff.match import pair_by_origin, pair_by_structure
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.result import Diff, Part
from cutaway.dump.diff.terms import Labels
from cutaway.dump.schema import NodeTable
from cutaway.dump.snapshot import Snapshot


@dataclass(frozen=True)
class Pair:
    """Two graphs to compare.

    Attributes:
        before, after: the snapshots.
        piece: a piece that repeats theirs and that this pair stands for; None for their own.
        layers: layers of the snapshots -> those of that piece.
    """

    before: Snapshot
    after: Snapshot
    piece: str | None = None
    layers: Mapping[str, str] = field(default_factory=dict[str, str])


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
    return diff_pairs([Pair(before, after)])


def diff_pairs(pairs: Sequence[Pair]) -> Diff:
    """The difference of several pairs of graphs, such as the pieces of a split model, folded over all of them.

    Args:
        pairs: at least one.

    Raises:
        DumpError: a graph is not in its dump, or cannot be read.
    """
    labels = Labels()
    done: dict[tuple[int, int], tuple[Part, list[Found]]] = {}
    parts: list[Part] = []
    found: list[Found] = []
    for pair in pairs:
        key = id(pair.before), id(pair.after)
        if key not in done:
            done[key] = _compared(pair, labels)
        part, rewrites = done[key]
        found += [each.at(len(parts), pair.layers) for each in rewrites]
        parts.append(replace(part, piece=pair.piece or pair.after.piece, layers=pair.layers))
    sizes = [pair for part in parts for pair in part.matching.sizes if not all(isinstance(each, str) for each in pair)]
    return Diff(tuple(parts), with_absent(fold(found), parts), tuple(dict.fromkeys(sizes)))


def _compared(pair: Pair, labels: Labels) -> tuple[Part, list[Found]]:
    before, after = pair.before, pair.after
    tables = before.table, after.table
    pairing, recorded = _paired(before, after, tables)
    found = find(pairing, 0, labels, (before.providers, after.providers))
    return Part(before, after, pair.piece, pair.layers, tables, pairing.result(), recorded), found


def _paired(before: Snapshot, after: Snapshot, tables: tuple[NodeTable, NodeTable]) -> tuple[Pairing, bool]:
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
