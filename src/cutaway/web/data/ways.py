"""Which node is which through a compilation: sets of nodes of its first snapshot, called roots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.dump import Compilation
from cutaway.dump.lineage.spot import Spot
from cutaway.errors import SelectorError
from cutaway.web.data import shapes
from cutaway.web.data.process import Process


def ways(process: Process, name: str) -> shapes.Ways:
    """The whole graphs of a compilation, and where their nodes went.

    Args:
        process: what was recorded.
        name: the compilation.

    Raises:
        SelectorError: there is no such compilation.
    """
    compilation = process.compilation(name)
    trail = process.trail
    whole = [trail.spot(snapshot) for snapshot in compilation.snapshots if snapshot.piece is None]
    spots = [trail.spot(snapshot) for snapshot in compilation.snapshots if snapshot.stage == "piece"]
    lines: dict[str, list[int]] = {}
    table = trail.readable(whole[0].snapshot) if whole else None
    for node in table.nodes if table is not None else ():
        if node.source is not None and node.is_call:
            lines.setdefault(str(node.source), []).append(node.id)
    pieces: dict[int, list[str]] = {}
    for spot in spots:
        for root in sorted({root for roots in _calls(process, spot) for root in roots}):
            pieces.setdefault(root, []).append(spot.piece or "")
    return shapes.Ways(
        compilation=name,
        first=whole[0].snapshot.selector if whole else None,
        lines=lines,
        pieces={str(root): pieces[root] for root in sorted(pieces)},
        snapshots=[_snapshot_ways(process, spot) for spot in whole],
        calls=[call for spot in whole for call in _kernel_calls(process, spot)],
        coverage=_coverage(process, compilation),
    )


def piece_ways(process: Process, name: str, piece: str) -> shapes.PieceWays:
    """The graphs of a piece, and the kernels that they became; of an equal piece when it was compiled with that one.

    Args:
        process: what was recorded.
        name: the compilation.
        piece: the piece.

    Raises:
        SelectorError: there is no such compilation, or it has no such piece.
    """
    compilation = process.compilation(name)
    own = next((each for each in process.pieces(compilation) if each.name == piece), None)
    if own is None:
        compilation.piece(piece)  # raises, and says which pieces there are
        raise SelectorError(f"{name!r} has no piece {piece!r}")
    trail = process.trail
    spots = [trail.spot(snapshot) for snapshot in own.snapshots]
    stand_ins = trail.stand_ins(name, piece)
    for spot in [spot for spot in spots if spot.snapshot.stage == "piece"]:
        spots += [each for each in _below(process, spot) if each.compiled_with is not None]
    calls = [call for spot in spots for call in _kernel_calls(process, spot)]
    return shapes.PieceWays(
        compilation=name,
        piece=piece,
        compiled_with=stand_ins[0][0] if stand_ins else None,
        layer_map=dict(stand_ins[0][2]) if stand_ins else {},
        snapshots=[_snapshot_ways(process, spot) for spot in spots],
        calls=calls,
    )


def _below(process: Process, spot: Spot) -> Iterator[Spot]:
    """All that comes after a spot, in the order of recording."""
    found: dict[object, Spot] = {}
    waiting = [spot]
    while waiting:
        for after in process.trail.after(waiting.pop()):
            if after.key not in found:
                found[after.key] = after
                waiting.append(after)
    return iter(sorted(found.values(), key=lambda each: each.snapshot.seq))


def _snapshot_ways(process: Process, spot: Spot) -> shapes.SnapshotWays:
    sets: dict[frozenset[int], int] = {}
    roots = [sets.setdefault(each, len(sets)) for each in process.trail.roots(spot)]
    known = [sorted(each) for each in sets]
    return shapes.SnapshotWays(spot.snapshot.selector, spot.snapshot.graph, spot.snapshot.range, roots, known)


def _calls(process: Process, spot: Spot) -> list[frozenset[int]]:
    """The roots of what a graph computes; its inputs are computed elsewhere."""
    table = process.trail.readable(spot.snapshot)
    roots = process.trail.roots(spot)
    return [roots[node.id] for node in table.nodes if node.is_call] if table is not None else []


def _coverage(process: Process, compilation: Compilation) -> shapes.Coverage:
    """Of the last graphs, each once; of the first one where no piece was compiled."""
    nodes = known = 0
    for spot in _last(process, compilation):
        roots = _calls(process, spot)
        nodes += len(roots)
        known += sum(map(bool, roots))
    return shapes.Coverage(nodes, known)


def _last(process: Process, compilation: Compilation) -> Sequence[Spot]:
    found = {each.graph: each for each in compilation.snapshots if each.stage == "post_grad"}
    return [process.trail.spot(snapshot) for snapshot in found.values()]


def _kernel_calls(process: Process, spot: Spot) -> Iterator[shapes.KernelCall]:
    """The calls in the code that a last graph became."""
    calls = process.calls.of(spot.snapshot)
    if not calls:
        return
    table = process.trail.readable(spot.snapshot)
    ids = {node.name: node.id for node in table.nodes} if table is not None else {}
    for call in calls:
        kernel = call.kernel_code
        yield shapes.KernelCall(
            range=spot.snapshot.range,
            phase=spot.snapshot.phase,
            kernel=call.name,
            code=call.code.selector,
            lines=list(call.lines),
            kernel_code=kernel.selector if kernel is not None else None,
            nodes=[ids[name] for name in call.nodes if name in ids],
        )
