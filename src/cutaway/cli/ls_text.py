"""The long form of `cutaway ls`: every stage, pass and file, each in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cutaway.cli.ls_head import dump_remarks, head_lines, origin, recompile, remarks, some, title
from cutaway.cli.output import Styled, aligned
from cutaway.dump import Code, Compilation, Dump, Piece, Snapshot, schema
from cutaway.dump.compilation import Step
from cutaway.dump.diff import diff, predecessor
from cutaway.dump.diff.result import ONLY_THE_ORDER
from cutaway.dump.fold import courses, fold_pieces, fold_ranges
from cutaway.errors import CutawayError

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("selector", "nodes", "change", "ms", "file")
Row = tuple[str, list[str] | str]
"""A style, and either the columns of a step or a line of text."""


def dump_lines(dump: Dump, wanted: frozenset[str] | None, everything: bool) -> Iterator[list[Styled]]:
    """A dump, line by line.

    Args:
        dump: what to list.
        wanted: list only the steps with these selectors; None for all.
        everything: list what is usually only counted: idle passes and kernels.
    """
    yield from head_lines(dump)
    yield from dump_remarks(dump)
    for compilation in dump:
        if wanted is not None and not any(step.selector in wanted for step in compilation.steps):
            continue
        yield []
        yield title(compilation)
        for text, style in (*recompile(compilation), *remarks(compilation), *origin(compilation)):
            yield [(f"  {text}", style)]
        rows = _Rows(wanted, everything).of(compilation)
        columns = iter(aligned([list(HEAD), *(row for _, row in rows if isinstance(row, list))], right=(1, 3), most=72))
        yield [("  " + "  ".join(next(columns)), "dim")]
        for style, row in rows:
            text = "  ".join(next(columns)) if isinstance(row, list) else row
            yield [("  " + text.rstrip(), style)]


class _Rows:
    """The rows of one compilation: the whole graph first, then each piece that differs, by range."""

    def __init__(self, wanted: frozenset[str] | None, everything: bool) -> None:
        self._wanted = wanted
        self._everything = everything

    def of(self, compilation: Compilation) -> list[Row]:
        rows = self._steps([step for step in compilation.steps if step.piece is None])
        pieces = {piece.name: piece for piece in compilation.pieces}
        for same in fold_pieces(compilation):
            piece = pieces.get(same.shown)
            if piece is not None:
                rows += self._piece(piece, [pieces[name] for name in same.others])
        return rows

    def _piece(self, piece: Piece, repeated: Sequence[Piece]) -> list[Row]:
        rows = self._steps([step for step in piece.steps if step.range is None])
        for same in fold_ranges(piece):
            inside = self._steps([step for step in piece.steps if step.range == same.shown])
            others = [name for name in same.others if self._lists(piece, name)]
            if inside and others and not self._everything:
                inside.append(("dim", f"  range {some(others)}: the same (--all lists it)"))
            rows += inside
            for name in same.others if self._everything or not inside else ():
                rows += self._steps([step for step in piece.steps if step.range == name])
        if rows and repeated:
            names = some([other.name for other in repeated])
            rows.insert(0, ("bold", f"{piece.name} {TIMES}{len(repeated) + 1}: {names} same as {piece.name}"))
        return rows + self._repeated(piece, repeated, listed=self._everything or not rows)

    def _lists(self, piece: Piece, compile_range: str) -> bool:
        """Whether any step of a range is among those to list."""
        wanted = self._wanted
        return wanted is None or any(step.selector in wanted for step in piece.steps if step.range == compile_range)

    def _repeated(self, piece: Piece, others: Sequence[Piece], listed: bool) -> list[Row]:
        """Pieces that repeat another: nothing to list, unless they were compiled by themselves."""
        rows: list[Row] = []
        again: list[str] = []
        known = courses(piece)
        for other in others:
            if listed or not courses(other) <= known:
                rows += self._steps(other.steps)
            elif courses(other):
                again.append(other.name)
        if again:
            text = f"  {some(again)}: compiled too, and the same (--all lists them)"
            rows.insert(0, ("dim", text))
        return rows

    def _steps(self, steps: Sequence[Step]) -> list[Row]:
        snapshots = {step.selector for step in steps if isinstance(step, Snapshot)}
        counts = {step.selector: step.counts for step in steps if isinstance(step, schema.PassRan)}
        rows: list[Row] = []
        idle = kernels = 0
        for step in steps:
            if self._wanted is not None and step.selector not in self._wanted:
                continue
            if not isinstance(step, (Snapshot, Code)) and step.selector in snapshots:
                continue
            if not self._everything and not isinstance(step, (Snapshot, Code)) and not step.changed:
                idle += 1
                continue
            rows += _counted(idle, "pass", "changed nothing")
            idle = 0
            if not self._everything and isinstance(step, Code) and step.kind == "kernel":
                kernels += 1
                continue
            rows.append(_row(step, counts.get(step.selector, {})))
        return rows + _counted(idle, "pass", "changed nothing") + _counted(kernels, "kernel", "")


def _counted(count: int, noun: str, verb: str) -> list[Row]:
    plural = noun + ("es" if noun.endswith("s") else "s")
    text = f"{count} {noun if count == 1 else plural} {verb}".rstrip()
    return [("dim", f"  {text} (--all lists them)")] if count else []


def _row(step: Step, counts: Mapping[str, int]) -> Row:
    if isinstance(step, Code):
        made = sum(len(nodes) for nodes in step.kernels.values())
        what = f"of {made} nodes" if step.kind == "kernel" and made else step.kind
        cached = " (from a cache)" if step.cached else ""
        return ("", [step.selector, "", what + cached, "", _file(step)])
    ms = "" if step.ms is None else f"{step.ms:.1f}"
    style = "green" if step.changed else "" if isinstance(step, Snapshot) else "dim"
    file = _file(step) if isinstance(step, Snapshot) else ""
    change = " · ".join(part for part in (_change(step), _counts(counts)) if part)
    return (style, [step.selector, str(step.node_count), change, ms, file])


def _counts(counts: Mapping[str, int], most: int = 4) -> str:
    """What a pass counted, without what never happened."""
    shown = [f"{number} {name}" for name, number in counts.items() if number]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _change(step: Snapshot | schema.PassRan) -> str:
    if not step.changed:
        return "" if isinstance(step, Snapshot) else "changed nothing"
    delta = _delta(step.ops_delta)
    if isinstance(step, Snapshot):
        return f"* {delta or _rewritten(step)}"
    return f"* {delta or 'no new graph'}"


def _rewritten(step: Snapshot) -> str:
    """What changed where no operator came or went: the graphs themselves tell."""
    try:
        before = predecessor(step)
        if before is not None and diff(before, step).is_reordered:
            return ONLY_THE_ORDER
    except CutawayError:  # a graph that cannot be read costs this answer alone
        pass
    return "rewritten, the same ops"


def _delta(delta: Mapping[str, int], most: int = 4) -> str:
    shown = [f"{op} {change:+d}" for op, change in list(delta.items())[:most]]
    more = f" and {len(delta) - most} more" if len(delta) > most else ""
    return ", ".join(shown) + more


def _file(step: Snapshot | Code) -> str:
    path = next((file.path for file in step.files if file.kind in ("raw", "code")), None)
    if path is not None:
        return path
    return f"same as {_seen_from(step.selector, step.same_as)}" if step.same_as else "left out"


def _seen_from(here: str, other: str) -> str:
    """A selector without what it has in common with where one stands: the folder, or the compilation."""
    folder = here.rpartition("/")[0]
    if other.startswith(f"{folder}/"):
        return other.removeprefix(f"{folder}/")
    return other.removeprefix(here.partition("/")[0] + "/")
