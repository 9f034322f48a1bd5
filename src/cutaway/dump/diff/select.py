"""Which graphs a diff is of: from selectors, ranges and ranks to pairs of snapshots.

A selector may name one snapshot, or the same step (a pass, a stage) in several pieces and ranges of a split model:
then it is about all of them, range by range, and a piece that repeats another is counted under its own layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutaway.dump import schema
from cutaway.dump.compilation import Piece
from cutaway.dump.diff.compare import Pair, diff_pairs
from cutaway.dump.diff.course import predecessor
from cutaway.dump.diff.result import Diff, Rewrite
from cutaway.dump.fold import fold_pieces
from cutaway.dump.select import choose, matching, unknown
from cutaway.dump.snapshot import Snapshot, pattern
from cutaway.errors import SelectorError, UsageError

if TYPE_CHECKING:
    from cutaway.dump.reader import Dump

Step = Snapshot | schema.PassRan
Place = tuple[str | None, str | None, str | None]
"""Compilation, piece and range."""


@dataclass(frozen=True)
class Compared:
    """The difference of one step in one range, over all pieces.

    Attributes:
        diff: the difference; None when a pass ran and changed nothing in any of the pieces.
        ranges: the compile ranges in which it is this one: all of them went through the same graphs.
        alike: ranges in which it is the same up to sizes.
        idle: selectors of passes that changed nothing.
    """

    diff: Diff | None
    ranges: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no difference."""
        return self.diff is None or self.diff.is_empty

    @property
    def summary(self) -> str:
        """`812 → 740 nodes, rms_norm −64, fused_add_rms_norm +64`, in one line."""
        if self.diff is not None:
            return self.diff.summary
        times = "" if len(self.idle) == 1 else f" in {len(self.idle)} graphs"
        return f"ran{times}, and changed nothing"

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """What became of what, each once."""
        return () if self.diff is None else self.diff.rewrites


def compare_step(dump: Dump, selector: str, ranges: Sequence[str] = ()) -> list[Compared]:
    """What a pass (or a stage) changed: each of its graphs against the one before it.

    Args:
        dump: where to look.
        selector: names a snapshot, or the same step in several pieces and ranges.
        ranges: only these compile ranges; empty for all.

    Returns:
        One comparison for each range that differs from those before it.

    Raises:
        SelectorError: nothing is called so, or things that are no one step.
        DumpError: a graph cannot be read.
    """
    taken, idle = _steps(dump, selector, ranges)
    pairs: list[Pair] = []
    for snapshot in taken:
        before = predecessor(snapshot)
        if before is None:
            raise UsageError(
                f"{snapshot.selector!r} is the first graph of its compilation",
                "there is nothing before it",
                "give two selectors, to compare them with each other",
            )
        pairs.append(Pair(before, snapshot))
    return _by_range(dump, pairs, [step.selector for step in idle], _names_piece(selector, taken))


def compare_steps(dump: Dump, before: str, after: str, ranges: Sequence[str] = ()) -> list[Compared]:
    """The difference from one stage to another, each piece and range for itself.

    Args:
        dump: where to look.
        before, after: selectors, each of a snapshot or of the same step in several pieces and ranges.
        ranges: only these compile ranges; empty for all.

    Raises:
        SelectorError: nothing is called so, things that are no one step, or steps of different pieces.
        DumpError: a graph cannot be read.
    """
    old, new = _only(dump, before, ranges), _only(dump, after, ranges)
    pairs = [Pair(old[0], new[0])] if len(old) == len(new) == 1 else _pairs(old, new)
    if not pairs:
        raise SelectorError(
            f"{before!r} and {after!r} have no piece and range in common",
            f"the first is in {_where(old)}, the second in {_where(new)}",
            "add more of the path to each",
            candidates=tuple(snapshot.selector for snapshot in (*old, *new)),
        )
    named = _names_piece(before, old) or _names_piece(after, new)
    return _by_range(dump, pairs, [], named)


def compare_ranges(dump: Dump, selector: str, before: str, after: str) -> list[Compared]:
    """The same step in two compile ranges, each piece for itself. Raises as `compare_steps`."""
    old, new = _only(dump, selector, (before,)), _only(dump, selector, (after,))
    pieces = {(snapshot.compilation, snapshot.piece): snapshot for snapshot in old}
    pairs = [
        Pair(pieces[snapshot.compilation, snapshot.piece], snapshot)
        for snapshot in new
        if (snapshot.compilation, snapshot.piece) in pieces
    ]
    if not pairs:
        raise SelectorError(
            f"no piece was recorded in both ranges for {selector!r}",
            f"{before} was in {_where(old)}, {after} in {_where(new)}",
            "compare two snapshots by their selectors",
        )
    named = _names_piece(selector, old)
    return [Compared(diff_pairs(pairs if named else _with_repeated(dump, pairs)), (after,))]


def compare_dumps(before: Dump, after: Dump, selector: str, ranges: Sequence[str] = ()) -> list[Compared]:
    """The same step in two dumps: of two ranks, or of two runs. Raises as `compare_steps`."""
    old, new = _only(before, selector, ranges), _only(after, selector, ranges)
    pairs = [Pair(old[0], new[0])] if len(old) == len(new) == 1 else _pairs(old, new)
    if not pairs:
        raise SelectorError(
            f"the two have no {selector!r} in common",
            f"the first has it in {_where(old)}, the second in {_where(new)}",
            "add more of the path, or use `cutaway compare`",
        )
    return _by_range(after, pairs, [], _names_piece(selector, new))


def _steps(dump: Dump, selector: str, ranges: Sequence[str]) -> tuple[list[Snapshot], list[schema.PassRan]]:
    """The snapshots of the step that is meant, and the passes of that name that changed nothing."""
    passes = {step.selector: step for compilation in dump for step in compilation.passes}
    known: dict[str, Step] = {**passes, **dump.snapshots}
    inside = {name: step for name, step in known.items() if not ranges or step.range in ranges}
    wanted = inside | {name: step for name, step in known.items() if step.range is None}
    found = matching(selector, inside) or matching(selector, wanted)
    if not found:
        raise _nothing(dump, selector, ranges, list(known))
    changed = [name for name in found if name in dump.snapshots]
    leaves = {name.rpartition("/")[2] for name in changed}
    found = [name for name in found if not leaves or name.rpartition("/")[2] in leaves]
    if len(leaves) > 1:
        choose(selector, found)
    steps = [wanted[name] for name in found]
    taken = [step for step in steps if isinstance(step, Snapshot)]
    return taken, [step for step in steps if isinstance(step, schema.PassRan)]


def _nothing(dump: Dump, selector: str, ranges: Sequence[str], known: Sequence[str]) -> SelectorError:
    """Why a selector names no graph."""
    code = matching(selector, list(dump.codes))
    if code and not matching(selector, known):
        return SelectorError(f"{code[0]!r} is code, no graph", "graphs are compared", "see `cutaway show` for it")
    if ranges and matching(selector, known):
        there = sorted({step.range for step in dump.snapshots.values() if step.range is not None})
        return SelectorError(
            f"{selector!r} was not recorded in range {' or '.join(ranges)}",
            f"there are {', '.join(there)}" if there else "nothing was compiled for a range",
            "give one of them" if there else "leave the range out",
            candidates=tuple(there),
        )
    return unknown(selector, known)


def _only(dump: Dump, selector: str, ranges: Sequence[str]) -> list[Snapshot]:
    """The snapshots of a step; where a pass changed nothing, the graph that it left as it was."""
    taken, idle = _steps(dump, selector, ranges)
    return [*taken, *filter(None, (_left_by(dump, step) for step in idle))]


def _left_by(dump: Dump, ran: schema.PassRan) -> Snapshot | None:
    """The graph that a pass found and left as it was."""
    earlier = [
        snapshot
        for snapshot in dump.snapshots.values()
        if (snapshot.compilation, snapshot.piece) == (ran.compilation, ran.piece)
        and snapshot.range in (ran.range, None)
        and snapshot.seq < ran.seq
    ]
    return earlier[-1] if earlier else None


def _pairs(old: Sequence[Snapshot], new: Sequence[Snapshot]) -> list[Pair]:
    """The graphs of the same piece and range; a piece that is not there for a range is the same for all."""
    known: dict[Place, Snapshot] = {(each.compilation, each.piece, each.range): each for each in old}
    pairs: list[Pair] = []
    for snapshot in new:
        before = known.get((snapshot.compilation, snapshot.piece, snapshot.range))
        before = before or known.get((snapshot.compilation, snapshot.piece, None))
        if before is not None:
            pairs.append(Pair(before, snapshot))
    return pairs


def _names_piece(selector: str, snapshots: Sequence[Snapshot]) -> bool:
    """Whether a selector is about certain pieces: then it is not about those that repeat them."""
    return any(snapshot.piece in selector.split("/") for snapshot in snapshots)


def _by_range(dump: Dump, pairs: Sequence[Pair], idle: Sequence[str], named: bool) -> list[Compared]:
    """One comparison for each range, those that are the same together.

    Args:
        dump: where the graphs after are from.
        pairs: of all ranges.
        idle: selectors of passes that changed nothing.
        named: the pieces were named: leave out those that repeat them.
    """
    groups: dict[tuple[str | None, str | None], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.after.compilation, pair.after.range), []).append(pair)
    found: dict[object, Compared] = {}
    shapes: dict[object, object] = {}
    for (compilation, name), some in groups.items():
        some = some if named else _with_repeated(dump, some)
        names = () if name is None else (name,)
        graphs = (
            compilation,
            *((each.before.graph, each.after.graph, each.piece or each.after.piece) for each in some),
        )
        if graphs in found:
            found[graphs] = _also(found[graphs], ranges=names)
            continue
        result = diff_pairs(some)
        shape = (compilation, _shape(result))
        if shape in shapes and name is not None:
            found[shapes[shape]] = _also(found[shapes[shape]], alike=names)
            continue
        shapes[shape] = graphs
        found[graphs] = Compared(result, names)
    if not found:
        return [Compared(None, idle=tuple(idle))]
    first, *rest = found.values()
    return [Compared(first.diff, first.ranges, first.alike, tuple(idle)), *rest]


def _also(one: Compared, ranges: tuple[str, ...] = (), alike: tuple[str, ...] = ()) -> Compared:
    return Compared(one.diff, one.ranges + ranges, one.alike + alike, one.idle)


def _shape(result: Diff) -> object:
    """What a diff says, without sizes."""
    return tuple(
        (each.kind, each.before, each.after, each.what, each.providers, each.layers, each.absent)
        for each in result.rewrites
    )


def _with_repeated(dump: Dump, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in model order, with one for each piece that repeats a piece of them and was not compiled itself."""
    found: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.after.piece, []).append(pair)
    compilation = dump.compilations.get(pairs[0].after.compilation or "")
    if compilation is None or None in found:
        return list(pairs)
    pieces = {piece.name: piece for piece in compilation.pieces}
    for same in fold_pieces(compilation):
        names = [same.shown, *same.others]
        shown = next((found[name] for name in names if name in found), [])
        for name in names if shown else ():
            if name not in found:
                layers = _layers(pieces[shown[0].after.piece or ""], pieces[name])
                found[name] = [Pair(pair.before, pair.after, name, layers) for pair in shown]
    order = {name: number for number, name in enumerate(pieces)}
    return [pair for name in sorted(found, key=lambda name: order.get(name or "", 0)) for pair in found[name]]


def _layers(piece: Piece, other: Piece) -> Mapping[str, str]:
    """Layers of a piece -> those of another that repeats it; empty where they do not correspond."""
    mine, theirs = piece.layers, other.layers
    pairs = list(zip(mine, theirs, strict=False))
    fits = len(mine) == len(theirs) and all(pattern(one) == pattern(two) for one, two in pairs)
    return dict(pairs) if fits else {}


def _where(snapshots: Sequence[Snapshot]) -> str:
    names = [snapshot.selector.rpartition("/")[0] for snapshot in snapshots]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
