"""What `cutaway ls` prints for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from cutaway.cli.output import Styled, aligned
from cutaway.dump import Code, Compilation, Dump, Piece, Snapshot, schema
from cutaway.dump.compilation import Step
from cutaway.dump.fold import courses, fold_pieces, fold_ranges, fold_ranks
from cutaway.explain.shapes import uncaptured
from cutaway.record.layers.words import reason_line

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
    yield from _head(dump)
    for compilation in dump:
        if wanted is not None and not any(step.selector in wanted for step in compilation.steps):
            continue
        yield []
        yield from _compilation_head(compilation)
        rows = _Rows(wanted, everything).of(compilation)
        columns = iter(aligned([list(HEAD), *(row for _, row in rows if isinstance(row, list))], right=(1, 3), most=72))
        yield [("  " + "  ".join(next(columns)), "dim")]
        for style, row in rows:
            text = "  ".join(next(columns)) if isinstance(row, list) else row
            yield [("  " + text.rstrip(), style)]


def _head(dump: Dump) -> Iterator[list[Styled]]:
    info = dump.info
    versions = f" · cutaway {info.cutaway} · torch {info.torch} · python {info.python}" if info else ""
    yield [(str(dump.path), "bold"), (versions, "dim")]
    if info is not None and info.argv:
        yield [(" ".join(info.argv), "dim")]
    if len(dump.runs) > 1:
        yield [(f"other runs: {_some([name for name in dump.runs if name != dump.run])} (choose with --run)", "")]
    for same in fold_ranks(dump) if len(dump.processes) > 1 else ():
        names = [same.shown, *same.others]
        graphs = "the same graphs" if dump.process in names else "other graphs"
        others = [name for name in names if name != dump.process]
        if others:
            yield [(f"{graphs}: {_some(others)} (choose with --rank)", "")]
    for note in dump.notes:
        yield [(f"note: {note}", "yellow")]
    for error in dump.errors:
        yield [(f"recording failed in {error.where}: {error.error}", "red")]
    for each in uncaptured(dump):
        what = " at ".join(filter(None, (each.function or "a function", each.place)))
        words = "not compiled, runs eagerly" if each.skipped else "nothing to capture before a graph break"
        yield [(f"{words}: ", "yellow"), (f"{what}: {each.at.reason}", "")]


def _compilation_head(compilation: Compilation) -> Iterator[list[Styled]]:
    started = compilation.started
    facts: list[str] = []
    where = ""
    if started is not None:
        where = f" ({started.file.rpartition('/')[2]}:{started.line})" if started.file else ""
        function = "" if started.function == compilation.name else started.function or "?"
        facts = [part for part in (f"{function}{where}".strip(), started.model) if part]
    yield [
        (compilation.name, "bold"),
        ((" " if facts[:1] == [where.strip()] else ": ") + " · ".join(facts) if facts else "", ""),
    ]
    if started is not None and started.recompile:
        reason = "; ".join(text.strip().split("\n")[0] for text in started.reason) or "reason not recorded"
        yield [(f"  recompile {started.recompile}, because {reason}", "yellow")]
    asked: dict[str, Counter[str]] = {}
    for cache in compilation.caches:
        if cache.kind != "recording":
            asked.setdefault(cache.kind, Counter())[cache.result] += 1
    for kind, results in asked.items():
        yield [(f"  cache {kind}: {', '.join(f'{count} {result}' for result, count in results.items())}", "")]
    yield from _served(compilation)
    yield from _findings(compilation)
    for error in compilation.errors:
        yield [(f"  recording failed in {error.where}: {error.error}", "red")]
    if compilation.failed:
        yield [(f"  FAILED: {reason_line(compilation.failed)}", "red")]
    if compilation.restarted_as:
        yield [(f"  Dynamo gave this attempt up: {compilation.restarted_as} is what runs", "dim")]
    if not compilation.finished:
        yield [("  did not come to its end", "yellow")]


def _findings(compilation: Compilation) -> Iterator[list[Styled]]:
    """What somebody should look at."""
    found: Counter[tuple[str, ...]] = Counter()
    for metric in compilation.metrics:
        if metric.kind == "finding" and metric.values.get("kind") == "provider":
            found[tuple(str(metric.values.get(name)) for name in ("pass", "taken", "expected"))] += 1
    for (name, taken, expected), count in found.items():
        many = f" ({count} times)" if count > 1 else ""
        yield [(f"  finding: {name} took provider {taken} where {expected} was expected{many}", "yellow")]


def _served(compilation: Compilation) -> Iterator[list[Styled]]:
    """What was read back because a cache served it, and what of that is missing."""
    found: dict[tuple[str, ...], int] = {}
    for cache in compilation.caches:
        if cache.kind == "recording" and cache.result in ("load", "miss") and isinstance(cache.factors, dict):
            said = [str(cache.factors.get(name, "?")) for name in ("run", "reason", "cure")]
            found[cache.result, *said] = found.get((cache.result, *said), 0) + 1
    for (result, run, reason, cure), count in found.items():
        many = f" ({count} times)" if count > 1 else ""
        if result == "load":
            yield [(f"  not compiled now, but read back{many}: recorded by {run}", "")]
        else:
            yield [(f"  graphs are missing{many}: a cache served them, and {reason}. To see all, {cure}.", "yellow")]


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

    def _piece(self, piece: Piece, others: Sequence[Piece]) -> list[Row]:
        rows = self._steps([step for step in piece.steps if step.range is None])
        for same in fold_ranges(piece):
            inside = self._steps([step for step in piece.steps if step.range == same.shown])
            if inside and same.others and not self._everything:
                inside.append(("dim", f"  range {_some(same.others)}: the same (--all lists it)"))
            rows += inside
            for name in same.others if self._everything or not inside else ():
                rows += self._steps([step for step in piece.steps if step.range == name])
        if rows and others:
            some = _some([other.name for other in others])
            rows.insert(0, ("bold", f"{piece.name} {TIMES}{len(others) + 1}: {some} same as {piece.name}"))
        return rows + self._repeated(piece, others, listed=self._everything or not rows)

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
            text = f"  {_some(again)}: compiled too, and the same (--all lists them)"
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
            listed = self._everything or self._wanted is not None
            if not listed and not isinstance(step, (Snapshot, Code)) and not step.changed:
                idle += 1
                continue
            rows += _counted(idle, "pass", "changed nothing")
            idle = 0
            if not listed and isinstance(step, Code) and step.kind == "kernel":
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
        return f"* {delta or 'rewritten, the same ops'}"
    return f"* {delta or 'no new graph'}"


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


def _some(names: Sequence[str], most: int = 4) -> str:
    """Names as a list, cut short in the middle."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])}, … {names[-1]} ({len(names)})"
