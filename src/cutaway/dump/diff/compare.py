"""Two snapshots, or several pairs of them, compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cutaway.dump.diff.absent import with_absent
from cutaway.dump.diff.course import chain, stems
from cutaway.dump.diff.cut import cut
from cutaway.dump.diff.find import Found, find
from cutaway.dump.diff.fold import fold
from cutaway.dump.diff.inside import FoundInside, find_inside, fold_inside
from cutaway.dump.diff.match import pair_by_origin, pair_by_structure
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.passes import Doings, doings
from cutaway.dump.diff.result import Diff, Part, providers_of
from cutaway.dump.diff.terms import Labels
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
    done: dict[tuple[int, int], tuple[Part, list[Found], list[FoundInside]]] = {}
    parts: list[Part] = []
    found: list[Found] = []
    inside: list[FoundInside] = []
    for pair in pairs:
        key = id(pair.before), id(pair.after)
        if key not in done:
            done[key] = _compared(pair, labels)
        part, rewrites, inner = done[key]
        found += [each.at(len(parts), pair.layers) for each in rewrites]
        inside += [each.at(pair.layers) for each in inner]
        parts.append(replace(part, piece=pair.piece or pair.after.piece, layers=pair.layers))
    sizes = [pair for part in parts for pair in part.matching.sizes if not all(isinstance(each, str) for each in pair)]
    return Diff(tuple(parts), with_absent(fold(found), parts), tuple(dict.fromkeys(sizes)), fold_inside(inside))


def _compared(pair: Pair, labels: Labels) -> tuple[Part, list[Found], list[FoundInside]]:
    before, after = pair.before, pair.after
    pairing, done = _paired(before, after)
    found = find(pairing, 0, labels, (providers_of(before), providers_of(after)))
    if done is not None:
        found = [each.by(done) for each in found]
    tables = pairing.before.table, pairing.after.table
    part = Part(before, after, pair.piece, pair.layers, tables, pairing.result(), done is not None)
    return part, found, find_inside(part, labels)


def _paired(before: Snapshot, after: Snapshot) -> tuple[Pairing, Doings | None]:
    """Which node is which, and what the passes between did; None when neither graph is recorded to be the other's."""
    if before.graph == after.graph and len(before.table.nodes) == len(after.table.nodes):
        places = [frozenset((place,)) for place in range(len(after.table.nodes))]
        return pair_by_origin(before.table, after.table, places), Doings()
    found = _recorded(before, after)
    if found is not None:
        return found
    found = _recorded(after, before)
    if found is not None:
        return found[0].inverse(), found[1].inverse()
    return pair_by_structure(before.table, after.table), None


def _recorded(before: Snapshot, after: Snapshot) -> tuple[Pairing, Doings] | None:
    """The pairs that follow from what is recorded; None when one graph does not come from the other."""
    steps = chain(before, after)
    found = stems(steps) if steps is not None else None
    if steps is None or found is None:
        return None
    first = next((number for number, step in enumerate(steps) if step.piece is not None), None)
    if before.piece is not None or first is None:
        pairing = pair_by_origin(before.table, after.table, found)
        return pairing, doings(steps, pairing)
    piece = stems(steps[: first + 1])
    if piece is None:
        return None
    part, places = cut(before.table, steps[first].table, piece)
    at = {place: number for number, place in enumerate(places)}
    inside = [frozenset(at[place] for place in some if place in at) for some in found]
    pairing = pair_by_origin(part, after.table, inside)
    pairing.cut = True
    return pairing, doings(steps)
