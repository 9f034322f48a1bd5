"""From piece to piece: which piece makes what another one takes as an input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cutaway.dump.lineage.spot import Ids, Spot
from cutaway.dump.lineage.trail import Trail

PIECE = "piece"
Reached = Sequence[tuple[Spot, Ids]]


def made_in(trail: Trail, back: Reached) -> list[tuple[Spot, Ids]]:
    """The pieces that make inputs of a piece, and the nodes there.

    Args:
        trail: the dump's order and origins.
        back: the inputs, wherever they are asked for, and what they stem from (`Trail.back`).
    """
    for (here, ids), (whole, _) in pairwise(back):
        origins = trail.origins(here.snapshot)
        taken = ids & trail.handed(here.snapshot)
        if here.snapshot.stage == PIECE and taken and origins is not None:
            made = frozenset[int]().union(*(origins[number] for number in taken))
            return [each for each in trail.following(whole, made) if each[0].snapshot.stage == PIECE]
    return []


def taken_by(trail: Trail, back: Reached, ahead: Reached) -> list[tuple[Spot, Ids]]:
    """The pieces that take nodes as an input, and the inputs.

    Of a graph further on in a piece these are the takers of its results, where the piece has as many: which result is
    which is told by their order.

    Args:
        trail: the dump's order and origins.
        back: the nodes and what they stem from (`Trail.back`).
        ahead: what became of them (`Trail.ahead`).
    """
    spot, ids = back[0]
    if spot.piece is None:
        whole = [(spot, ids), *(each for each in ahead if each[0].piece is None)]
        return [taker for each, those in whole for taker in trail.takers(each, those)]
    for (here, _), (before, _) in pairwise(back):
        origins = trail.origins(here.snapshot)
        if here.snapshot.stage == PIECE and origins is not None:
            results = _results(trail, spot, ids, here) - trail.handed(here.snapshot)
            made = frozenset[int]().union(*(origins[number] for number in results))
            return trail.takers(before, made)
    return []


def _results(trail: Trail, spot: Spot, ids: Ids, piece: Spot) -> Ids:
    """Which nodes of a piece some nodes of a later graph of it are, of its results."""
    if spot is piece:
        return ids
    now, then = trail.table(spot.snapshot).results, trail.table(piece.snapshot).results
    if len(now) != len(then):
        return frozenset()
    return frozenset(before for after, before in zip(now, then, strict=True) if after in ids)
