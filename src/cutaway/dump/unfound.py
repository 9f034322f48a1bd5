"""Why a selector names nothing: a pass that changed nothing, a piece that repeats another, or a slip of the pen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cutaway.dump.compilation import Compilation
from cutaway.dump.schema import PassRan
from cutaway.dump.select import matching, unknown
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import SelectorError


def why_nothing(
    selector: str, known: Sequence[str], compilations: Sequence[Compilation], snapshots: Iterable[Snapshot]
) -> SelectorError:
    """The error for a selector that fits nothing in a dump.

    Args:
        selector: what somebody typed.
        known: all selectors there are.
        compilations: the dump's.
        snapshots: all of them, in order.
    """
    passes = {step.selector: step for compilation in compilations for step in compilation.passes}
    idle = matching(selector, list(passes))
    if idle:
        graphs = list(snapshots)
        near = tuple(dict.fromkeys(filter(None, (_before(passes[name], graphs) for name in idle))))
        what = repr(idle[0]) if len(idle) == 1 else f"each of the {len(idle)} passes called {selector!r}"
        cure = f"show {' or '.join(near[:3])} instead" if near else ""
        return SelectorError(f"{what} has no graph of its own", "the graph stayed as it was", cure, near)
    for compilation in compilations:
        for piece in compilation.pieces:
            if piece.same_as is not None and piece.name in selector.split("/"):
                first = selector.replace(piece.name, piece.same_as)
                why = f"{piece.name} is the same graph as {piece.same_as}, and was compiled with it"
                return SelectorError(f"nothing is called {selector!r}", why, f"try {first!r}", (first,))
    return unknown(selector, known)


def _before(ran: PassRan, snapshots: Sequence[Snapshot]) -> str | None:
    """The snapshot that a pass worked on."""
    earlier = [
        snapshot.selector
        for snapshot in snapshots
        if (snapshot.compilation, snapshot.piece) == (ran.compilation, ran.piece)
        and snapshot.range in (ran.range, None)
        and snapshot.seq < ran.seq
    ]
    return earlier[-1] if earlier else None
