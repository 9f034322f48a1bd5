"""Two runs in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cutaway.dump.compare.figures import Times
from cutaway.dump.compilation import Compilation
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot


@dataclass(frozen=True)
class Total:
    """A number of either run; None where it is not known.

    Attributes:
        name: what is counted; with seconds in its name what is timed.
        a, b: how many, or how long.
        counts: whether it is a count: times differ from run to run.
    """

    name: str
    a: float | None
    b: float | None
    counts: bool = True


def totals(a: Dump, b: Dump) -> list[Total]:
    """What there is of everything."""
    ours, theirs = dict(_counts(a)), dict(_counts(b))
    found = [Total(name, ours[name], theirs[name]) for name in ours]
    return [*found, Total("compile seconds", _seconds(a), _seconds(b), counts=False)]


def _counts(dump: Dump) -> Iterator[tuple[str, float | None]]:
    snapshots = list(dump.snapshots.values())
    captured = [snapshot.node_count for snapshot in snapshots if snapshot.stage == "captured"]
    last = _last(snapshots)
    yield "compilations", len(dump.compilations)
    yield "pieces", sum(len(compilation.pieces) for compilation in dump)
    yield "distinct pieces", sum(_distinct(compilation) for compilation in dump)
    yield "compile ranges", len({step.range for compilation in dump for step in compilation.steps} - {None})
    yield "distinct graphs", len({snapshot.graph for snapshot in snapshots}) or None
    yield "nodes captured", sum(captured) if captured else None
    yield "nodes in last graphs", sum(snapshot.node_count for snapshot in last) if last else None
    yield "kernels generated", sum(code.kind == "kernel" for code in dump.codes.values())


def _distinct(compilation: Compilation) -> int:
    """How many of its pieces repeat no other."""
    return sum(piece.same_as is None for piece in compilation.pieces)


def _last(snapshots: list[Snapshot]) -> list[Snapshot]:
    """The last graph of each piece and range."""
    return [snapshot for snapshot in snapshots if snapshot.stage == "post_grad"]


def _seconds(dump: Dump) -> float | None:
    """How long compiling took, as the engine said: of whole compilations, or else of their pieces together."""
    found = [seconds for compilation in dump if (seconds := Times(compilation).whole) is not None]
    return round(sum(found), 3) if found else None
