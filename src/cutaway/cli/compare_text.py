"""What `cutaway compare` prints for people."""

from __future__ import annotations

from collections.abc import Iterator

from cutaway.cli.compare_figures import figures_lines
from cutaway.cli.compare_table import table_lines
from cutaway.cli.compare_words import pieces_text, range_text, some_text
from cutaway.cli.output import Styled, aligned
from cutaway.dump import Compilation
from cutaway.dump.compare import (
    Comparison,
    CompilationPair,
    Compiled,
    Course,
    PieceGroup,
    Ranks,
    Span,
    Step,
    StepPair,
    by_size,
    difference,
)
from cutaway.dump.compare.verdict import counted, differs, few, ranges_text, verdict

Line = list[Styled]


def comparison_lines(found: Comparison, names: tuple[str, str], everything: bool) -> Iterator[Line]:
    """Two processes compared.

    Args:
        found: what was found.
        names: what the dumps are called.
        everything: list what is usually only counted.
    """
    for letter, name, dump in zip("AB", names, (found.a, found.b), strict=True):
        yield [(f"{letter}  ", "bold"), (f"{name}  " if name else "", ""), (f"{dump.run}/{dump.process}", "dim")]
    yield from ([(f"note: {note}", "yellow")] for note in found.notes)
    yield []
    yield [(verdict(found), "bold" if not found.differs() else "bold red")]
    yield []
    yield from table_lines(found, everything)
    yield from figures_lines(found, everything)
    for pair in found.compilations:
        yield []
        yield from _compilation(pair, everything)


def ranks_lines(found: Ranks, everything: bool) -> Iterator[Line]:
    """The processes of one run, the odd ones first."""
    processes = sum(len(group.names) for group in found.groups)
    ways = "all compiled the same" if found.same else f"compiled in {len(found.groups)} ways"
    if processes == 1:
        yield [(f"{found.dump.run} has one process: there is nothing to compare it with", "bold")]
        yield [("give a second dump, or name a run of either: cutaway compare dump/run_001 dump/run_002", "dim")]
        return
    yield [(f"{found.dump.run}: {counted(processes, 'process')}, {ways}", "bold")]
    usual = found.groups[-1]
    for group in found.groups[:-1]:
        yield []
        yield [(f"{few(group.names)}, unlike {few(usual.names)}", "bold red")]
        if group.comparison is not None:
            yield from comparison_lines(group.comparison, ("", ""), everything)
    if found.same:
        yield [(f"  {few(usual.names)}", "")]


def _compilation(pair: CompilationPair, everything: bool) -> Iterator[Line]:
    if pair.a is None or pair.b is None:
        side, compilation = ("B", pair.b) if pair.a is None else ("A", pair.a)
        yield [(pair.name, "bold"), (f": only in {side}{_extent(compilation)}", "red")]
        return
    other = f" (A: {pair.a.name})" if pair.a.name != pair.b.name else ""
    if pair.same and pair.same_texts and not everything:
        yield [(pair.name, "bold"), (f"{other}: the same{_size(pair)}", "")]
        return
    yield [(pair.name, "bold"), (f"{other}:", "")]
    yield from _range_lines(pair)
    yield from _course_lines("whole graph", pair.whole, everything)
    same = [group for group in pair.pieces if not differs(group) and not everything]
    if same:
        a, b = ([name for group in same for name in getattr(group, side)] for side in "ab")
        texts = {text for group in same for each in group.compiled for text in each.texts.a.kernels.values()}
        kernels = f", {counted(len(texts), 'kernel')}" if texts else ""
        yield [(f"  {pieces_text(a, b)}: the same graphs and code{kernels}", "")]
    for group in pair.pieces:
        if group not in same:
            yield from _group_lines(group, everything)


def _size(pair: CompilationPair) -> str:
    """How much of it there is, in brackets."""
    pieces = sum(len(group.a) for group in pair.pieces)
    parts = [counted(pieces, "piece") if pieces else "", ranges_text([each.a for each in pair.ranges if each.a])]
    said = ", ".join(part for part in parts if part)
    return f" ({said})" if said else ""


def _extent(compilation: Compilation | None) -> str:
    """How large a compilation is, in brackets."""
    if compilation is None or not compilation.snapshots:
        return ""
    kernels = sum(code.kind == "kernel" for code in compilation.codes)
    first = compilation.snapshots[0]
    return f" ({first.node_count} nodes {first.stage}, {counted(kernels, 'kernel')})"


def _range_lines(pair: CompilationPair) -> Iterator[Line]:
    """Which ranges either run has, when they are not the same."""
    if all(each.a == each.b for each in pair.ranges):
        return
    a = by_size(each.a for each in pair.ranges if each.a is not None)
    b = by_size(each.b for each in pair.ranges if each.b is not None)
    ours, theirs = (ranges_text(names) if names else "no range" for names in (a, b))
    yield [(f"  compiled in A for {ours}; in B for {theirs}", "")]
    others = [f"{each.a} in A with {each.b} in B" for each in pair.ranges if each.a and each.b and each.a != each.b]
    if others:
        yield [(f"  compared: {', '.join(others)}, which have the most sizes in common", "")]


def _group_lines(group: PieceGroup, everything: bool) -> Iterator[Line]:
    if not group.a or not group.b:
        yield [(f"  {pieces_text(group.a or group.b, ())}: only in {'B' if group.b else 'A'}", "red")]
        return
    yield [(f"  {pieces_text(group.a, group.b)}:", "")]
    told: set[tuple[str | None, str | None]] = set()
    yield from _spans(group.whole, "    ", everything, told)
    alike: dict[str, list[str]] = {}
    lines: dict[str, list[Line]] = {}
    for each in group.compiled:
        if each.course.same and each.texts.same and not everything:
            continue
        said = [*_spans(each.course, "      ", everything, set(told)), *_text_lines(each)]
        alike.setdefault(repr(said), []).append(range_text(each.ranges))
        lines[repr(said)] = said
    for key, names in alike.items():
        yield [(f"    for {', '.join(names)}:", "")]
        yield from lines[key]


def _course_lines(what: str, compiled: Compiled, everything: bool) -> Iterator[Line]:
    if compiled.course.pairs and compiled.course.same and compiled.texts.same and not everything:
        names = [pair.name for pair in compiled.course.pairs if not (pair.b or pair.a or _NOTHING).is_pass]
        yield [(f"  {what}: the same ({some_text(names)})", "")]
    elif compiled.course.pairs:
        yield [(f"  {what}:", "")]
        yield from _spans(compiled.course, "    ", everything, set())
        yield from _text_lines(compiled)


_NOTHING = Step("", None, None, False, False)


def _spans(course: Course, indent: str, everything: bool, told: set[tuple[str | None, str | None]]) -> Iterator[Line]:
    """Where graphs differ, and in what.

    Args:
        told: pairs of graphs of which that was said; added to.
    """
    if everything:
        rows = [
            [pair.name, *(_step(step) for step in (pair.a, pair.b)), "" if pair.same else "!"] for pair in course.pairs
        ]
        yield from ([(indent + "  ".join(row).rstrip(), "" if row[-1].strip() else "dim")] for row in aligned(rows))
    for span in course.spans:
        yield from ([(indent + text, "")] for text in _span(span, told))
    for side, only in (("A", course.only_a), ("B", course.only_b)):
        idle = [step.name for step in only if not step.changed]
        if idle:
            yield [(f"{indent}only in {side}, and idle: {some_text(idle)}", "dim")]
    for pair in course.differently_changed:
        who = "A" if pair.a and pair.a.changed else "B"
        yield [(f"{indent}{pair.name} changed the graph in {who} only", "")]


def _step(step: Step | None) -> str:
    return "-" if step is None else f"{step.graph or '?'}"[:12] + (" *" if step.changed else "")


def _span(span: Span, told: set[tuple[str | None, str | None]]) -> Iterator[str]:
    first, last = span.pairs[0].name, span.pairs[-1].name
    both = span.both
    where = first if len(span.pairs) == 1 else f"{first} … {last}"
    if both is None:
        side = "B" if span.pairs[0].a is None else "A"
        yield f"only in {side}: {where}"
    else:
        yield f"{where}: {'differs as before' if _graphs(both) in told else difference(both)}"
        told.add(_graphs(both))
    if span.next is not None:
        yield f"the same again from {span.next.name} on"
    elif both is not None and _graphs(span.pairs[-1]) != _graphs(both):
        yield f"at the end, {last}: {difference(span.pairs[-1])}"


def _graphs(pair: StepPair) -> tuple[str | None, str | None]:
    return (pair.a.graph if pair.a else None, pair.b.graph if pair.b else None)


def _text_lines(compiled: Compiled) -> Iterator[Line]:
    texts, indent = compiled.texts, "      "
    if texts.same:
        if texts.a.kernels and not compiled.course.same:
            yield [(f"{indent}{counted(len(texts.a.kernels), 'kernel')}, the same", "")]
        return
    for side, only in (("A", texts.only_a), ("B", texts.only_b)):
        if only:
            yield [(f"{indent}kernels only in {side}: {some_text(only)}", "")]
    if not texts.only_a and not texts.only_b and texts.a.wrapper != texts.b.wrapper:
        yield [(f"{indent}the same kernels, called by other code", "")]
    if texts.unread:
        yield [(f"{indent}not in the dump: {some_text(texts.unread)}", "yellow")]
