"""What `cutaway lineage` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.lineage_words import called_in, calls_text, code_text, counted, end_of, line_text, names_text, some
from cutaway.cli.output import Styled, aligned
from cutaway.dump.lineage import Group, Line, Lineage, Member, Step, StepNode, Way
from cutaway.dump.lineage.fold import Course, course_form, courses
from cutaway.dump.query.labels import label

TIMES = "\N{MULTIPLICATION SIGN}"
WIDE = 56
"""No column is padded to more."""
MOST = 8
"""So many lines, layers or captured nodes of one way are listed."""
Rows = list[list[str]]


def lineage_lines(found: Lineage, everything: bool, stage: str | None = None) -> Iterator[list[Styled]]:
    """A lineage, line by line.

    Args:
        found: the answer.
        everything: every stage and every place, also where nothing differs.
        stage: the stage that was asked for; None for all.
    """
    in_table = found.kind in ("layer", "kernel") and not everything and stage is None
    for group in found.groups:
        yield from _heading(found, group, everything)
        if in_table and any(way.nodes for way in group.shown.ways):
            yield from _table_lines(found, group.shown)
        elif in_table:
            yield from ([(f"  unknown: {text}", "yellow")] for way in group.shown.ways for text in way.unknown)
        for way in () if in_table else group.shown.ways:
            yield from _way_lines(way, everything, first=everything or stage is not None)
        yield []
    for note in found.notes:
        yield [(f"note: {note}", "yellow")]
    yield [(_coverage(found), "dim")]


# -- what it is about -----------------------------------------------------------------------------------


def _heading(found: Lineage, group: Group, everything: bool) -> Iterator[list[Styled]]:
    count = len(group.members)
    yield [
        (_title(found, group.shown), "bold"),
        (f"  {TIMES}{count} alike, the first is shown" if count > 1 else "", ""),
    ]
    if found.kind == "kernel":
        yield from _kernel_facts(group.shown)
    if everything:
        yield from ([(f"  the same: {member.title}", "dim")] for member in group.members[1:])
    elif count > 1:
        yield [(f"  the same for {'; '.join(_others(found, group))}", "dim")]


def _title(found: Lineage, member: Member) -> str:
    way = member.ways[0] if member.ways else None
    if found.kind == "kernel":
        return member.title.rpartition(":")[2]
    if found.kind != "node" or way is None:
        return member.title
    place, _, names = way.start.rpartition(":")
    nodes = f"{names} = {way.nodes[0].operator}  {way.nodes[0].type}".rstrip() if len(way.nodes) == 1 else names
    return f"{nodes}  in {place}"


def _others(found: Lineage, group: Group) -> list[str]:
    """Where else it is the same: layers and ranges."""
    shown, others = group.shown, group.members[1:]
    mine = {layer for way in shown.ways for layer in way.layers}
    new = [layer for member in others for way in member.ways for layer in way.layers if layer not in mine]
    if found.kind == "layer":
        new = [member.title for member in others]
    ranges = dict.fromkeys(_range(way.start) for member in group.members for way in member.ways[:1])
    known = ", ".join([name for name in ranges if name][1:])
    layers = label(layer.rpartition(": ")[0] for layer in new)
    mine_too = shown.ways[0].start.partition("/")[0] if shown.ways else ""
    compilations = dict.fromkeys(way.start.partition("/")[0] for member in others for way in member.ways[:1])
    elsewhere = ", ".join(name for name in compilations if name != mine_too)
    return [text for text in (layers, f"range {known}" if known else "", elsewhere) if text]


def _range(start: str) -> str:
    parts = start.rpartition(":")[0].split("/")
    return next((part.removeprefix("range_") for part in parts if part.startswith("range_")), "")


def _kernel_facts(member: Member) -> Iterator[list[Styled]]:
    """Where a kernel is called, and where its source is."""
    name = member.title.rpartition(":")[2]
    call = next((call for way in member.ways for call in way.kernels if call.name == name), None)
    if call is None:
        return
    yield [(f"  {called_in(call)}", "")]
    if call.kernel_file is not None:
        yield [(f"  source: {call.kernel_file}", "")]


def _coverage(found: Lineage) -> str:
    known = found.coverage
    if not known.graphs:
        return "coverage: no last graph was met"
    graphs = "the last graph" if known.graphs == 1 else f"the {known.graphs} last graphs"
    lines = f"{known.known} of {counted(known.nodes, 'call')} in {graphs} stem from a known line of the model"
    return f"coverage: {lines}; the nodes of {known.told} of {counted(known.calls, 'kernel call')} are known"


# -- one way, stage by stage ----------------------------------------------------------------------------


def _way_lines(way: Way, everything: bool, first: bool) -> Iterator[list[Styled]]:
    """A way; `first` tells whether the captured graph has a row besides the facts."""
    yield from _facts(way)
    rows: Rows = []
    pieces: dict[str | None, list[Course]] = {}
    for course in courses(way):
        pieces.setdefault(course.piece, []).append(course)
    for piece, inside in pieces.items():
        if piece is not None:
            rows.append([f"  {_piece_title(way, piece)}"])
        indent = "  " if piece is None else "    "
        for same in [[course] for course in inside] if everything else _alike(inside):
            title = _course_title(same)
            if title:
                rows.append([f"{indent}{title}"])
            steps = same[0].steps if everything else same[0].changing
            if same[0].before is None and same[0].piece is None and not first:
                steps = steps[1:]
            rows += _course_rows(same[0], steps, f"{indent}  " if title else indent)
    yield from _aligned(rows)
    end = end_of(way)
    if end and not way.kernels:
        yield [("  kernel   ", "dim"), (f"none: {end}", "")]
    yield from ([(f"  unknown: {text}", "yellow")] for text in dict.fromkeys(way.unknown))


def _facts(way: Way) -> Iterator[list[Styled]]:
    """Source lines, layers and captured nodes."""
    noted = "" if way.captured else " (as the node itself notes)"
    facts = {
        "source": [line_text(line) + noted for line in way.lines],
        "layer": [f"{layer}{noted}" for layer in way.layers],
        "captured": [f"{node.name} = {node.operator}  {node.type}".rstrip() for node in way.captured],
    }
    crossings = {"made in": way.made_in, "taken by": way.taken_by}
    facts |= {head: [_crossing(step) for step in steps] for head, steps in crossings.items() if steps}
    for head, texts in facts.items():
        more = [f"and {len(texts) - MOST} more"] if len(texts) > MOST else []
        for number, text in enumerate([*texts[:MOST], *more] or ["unknown"]):
            yield [(f"  {head if number == 0 else '':<9}", "dim"), (text, "" if texts else "yellow")]


def _crossing(step: Step) -> str:
    """A piece, and what it makes or takes."""
    return f"{step.piece}: {'  '.join(_nodes(step.nodes)).rstrip()}"


def _piece_title(way: Way, piece: str) -> str:
    calls = [node.operator for step in way.steps if step.stage == "after_split" for node in step.nodes]
    number = piece.rpartition("_")[2].lstrip("0") or "0"
    called = next((call.removeprefix("self.") for call in calls if call.rpartition("_")[2] == number), "")
    others = sorted(
        {step.compiled_with for step in way.steps if step.piece == piece and step.compiled_with is not None}
    )
    return "".join([piece, f", called as {called}" if called else "", *(f", compiled with {name}" for name in others)])


def _alike(inside: Sequence[Course]) -> list[list[Course]]:
    """The ranges of a piece, those together that go the same way."""
    groups: dict[object, list[Course]] = {}
    for course in inside:
        groups.setdefault((course.range is None, course.phase, course_form(course)), []).append(course)
    return list(groups.values())


def _course_title(same: Sequence[Course]) -> str:
    ranges = [course.range for course in same if course.range is not None]
    alike = f" ({', '.join(ranges[1:])} alike)" if len(ranges) > 1 else ""
    return ", ".join(text for text in (f"range {ranges[0]}{alike}" if ranges else "", same[0].phase or "") if text)


def _course_rows(course: Course, steps: Sequence[Step], indent: str) -> Rows:
    rows = [[f"{indent}{step.leaf}", *_nodes(step.nodes)] for step in steps]
    last = course.steps[-1].nodes if course.steps else ()
    return rows + [[f"{indent}kernel", call.name, calls_text(call, last)] for call in course.kernels]


def _nodes(nodes: Sequence[StepNode]) -> list[str]:
    if len(nodes) == 1:
        return [f"{nodes[0].name} = {nodes[0].operator}", nodes[0].type]
    return [names_text(nodes), counted(len(nodes), "node")]


def _aligned(rows: Rows) -> Iterator[list[Styled]]:
    """Rows of one column (a heading) or three."""
    columns = iter(aligned([row for row in rows if len(row) > 1], most=WIDE))
    for row in rows:
        if len(row) == 1:
            yield [(row[0], "")]
        else:
            stage, nodes, what = next(columns)
            yield [(stage, "dim"), (f"  {nodes}  {what}".rstrip(), "")]


# -- many ways, a row each ------------------------------------------------------------------------------


def _table_lines(found: Lineage, member: Member) -> Iterator[list[Styled]]:
    """The lines and layers that are in a kernel, or the lines of a layer with their kernels."""
    of_kernel = found.kind == "kernel"
    rows: Rows = [["  layer", "line", "code", "captured", "node in the kernel"]]
    if not of_kernel:
        rows = [["  layer", "line", "captured", "kernel"]]
    above = ""
    for way in member.ways:
        end = [names_text(way.captured) or "?", names_text(way.nodes) if of_kernel else _kernels(way)]
        for layer, line in _places(way):
            shown = ["?", ""] if line is None else [line.short, code_text(line)]
            rows.append([f"  {layer if layer != above else ''}", *shown[: 2 if of_kernel else 1], *end])
            above, end = layer, ["", ""]
    for number, row in enumerate(aligned(rows, most=WIDE)):
        yield [("  ".join(row).rstrip(), "dim" if number == 0 else "")]


def _places(way: Way) -> list[tuple[str, Line | None]]:
    """The layers and lines of a way's captured nodes; of one that leads to none, what the nodes note."""
    places = [(node.layer or "?", node.line) for node in way.captured]
    noted = [(layer, line) for layer in way.layers or ("?",) for line in way.lines or (None,)]
    return list(dict.fromkeys(places or noted))


def _kernels(way: Way) -> str:
    """The kernels of one range, or why there is none."""
    if not way.kernels:
        return f"none: {end_of(way)}"
    return some([call.name for call in way.kernels if call.place == way.kernels[0].place])
