"""A compilation as a table: a row for each stage and pass that changed a graph, a column for each kind of piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cutaway.cli.ls_head import some
from cutaway.cli.output import Styled
from cutaway.dump import Code, Snapshot
from cutaway.dump.overview import Column, Kind, Overview
from cutaway.dump.query.labels import label

TIMES = "\N{MULTIPLICATION SIGN}"
IDLE = "·"
KINDS = 6
ROWS = 16
"""How many of these are shown; the others are named or counted."""
NARROWEST = 20
"""A name is not cut shorter than that."""


def compilation_lines(found: Overview, width: int) -> Iterator[list[Styled]]:
    """What there is of a compilation: the graph that was split, the pieces, and what changed them.

    Args:
        found: the compilation at a glance.
        width: columns that a line should not exceed.
    """
    if found.whole:
        yield [(_cut(f"  whole graph  {_whole(found)}", width), "")]
    yield from ([(_cut(f"  {text}", width), "")] for text in _kinds(found.kinds))
    if found.columns:
        yield from _table(found, width)


def _whole(found: Overview) -> str:
    """`captured 415 nodes → before_split 415 * → after_split 74, 9 pieces; execution_code, guards`."""
    graphs: dict[str, str] = {}
    codes: list[str] = []
    for step in found.whole:
        leaf = step.selector.rpartition("/")[2]
        if isinstance(step, Code):
            codes.append(leaf)
        elif isinstance(step, Snapshot) or step.changed:
            graphs[leaf] = f"{leaf} {step.node_count}{' nodes' if not graphs else ''}"
    pieces = sum(len(kind.names) for kind in found.kinds)
    way = " → ".join(graphs.values()) + (f", {pieces} pieces" if pieces else "")
    return "; ".join(part for part in (way, ", ".join(dict.fromkeys(codes))) if part)


def _kinds(kinds: Sequence[Kind]) -> Iterator[str]:
    """A line for each kind of piece: what it is of, where else it is, for which sizes it was compiled."""
    shown = kinds if len(kinds) <= KINDS else kinds[: KINDS - 1]
    names = [_name(kind.names) for kind in shown]
    layers = [_short_layers(kind) for kind in shown]
    for kind, name, layer in zip(shown, names, layers, strict=True):
        same = f"same: {some(kind.names[1:], 3)}" if kind.names[1:] else ""
        parts = [_ranges(kind), same, f"{len(kind.again)} compiled again" if kind.again else ""]
        said = "; ".join(part for part in parts if part)
        yield f"{name.ljust(_widest(names))}  {layer.ljust(_widest(layers))}  {said}".rstrip()
    if len(kinds) > len(shown):
        left = [kind.names[0] for kind in kinds[len(shown) :]]
        yield f"and {len(left)} more kinds of pieces: {some(left)}"


def _name(names: Sequence[str]) -> str:
    return f"{names[0]} {TIMES}{len(names)}" if len(names) > 1 else names[0]


def _short_layers(kind: Kind) -> str:
    text = label(kind.layers)
    return text if len(text) <= 32 else f"{text[:31]}…"


def _ranges(kind: Kind) -> str:
    """For which sizes it was compiled; behind `=` those that went through the same graphs."""
    if not kind.ranges:
        return f"{kind.nodes} nodes, runs as it is" if kind.nodes else "runs as it is"
    groups = [f"{group[0]} (= {some(group[1:], 3)})" if group[1:] else group[0] for group in kind.ranges]
    return f"range{'s' if sum(map(len, kind.ranges)) > 1 else ''} {some(groups)}"


def _table(found: Overview, width: int) -> Iterator[list[Styled]]:
    titles = [_title(column, found.columns) for column in found.columns]
    shown, left_rows = _most_changed(found)
    names = [*shown, "output_code"]
    columns = [_cells(column, shown) for column in found.columns]
    widths = [max(len(head), *map(len, cells)) for head, cells in zip(titles, columns, strict=True)]
    first = min(_widest(names), max(NARROWEST, width - 4 - sum(each + 2 for each in widths)))
    fitting = _fitting(widths, width - first - 4)
    change = _changes(found.columns[0], shown) if len(columns) == 1 else []
    yield [(_line("nodes after", titles[:fitting], widths, first), "dim")]
    for i, name in enumerate(shown):
        text = _line(name, [cells[i] for cells in columns[:fitting]], widths, first)
        yield [(_cut(f"{text}   {change[i]}".rstrip() if change else text.rstrip(), width), "")]
    if any(column.kernels is not None for column in found.columns):
        yield [(_line("output_code", [cells[-1] for cells in columns[:fitting]], widths, first), "")]
    yield from _below(found, titles[fitting:], left_rows, any(IDLE in cells for cells in columns))


def _below(found: Overview, left: Sequence[str], less: Sequence[str], legend: bool) -> Iterator[list[Styled]]:
    """What the table leaves out."""
    if left:
        yield [(f"  not shown: {some(left)}", "dim")]
    if less:
        yield [(f"  changed less: {some(less)}", "dim")]
    passes = f"{found.idle} pass{'es' if found.idle > 1 else ''} changed nothing" if found.idle else ""
    said = "; ".join(part for part in (passes, f"{IDLE} is no change" if legend else "") if part)
    if said:
        yield [(f"  {said}", "dim")]


def _title(column: Column, columns: Sequence[Column]) -> str:
    """What a column is of: its piece; and its range where the piece has several columns."""
    alike = [other for other in columns if other.pieces == column.pieces]
    name = _name(column.pieces) if column.pieces else ""
    folder = column.folders[0] if len(alike) > 1 or not name else ""
    return " ".join(part for part in (name, folder) if part) or "graph"


def _cells(column: Column, rows: Sequence[str]) -> list[str]:
    """What stands in a column: the number of nodes; a dot where something ran and changed nothing."""
    first = next(iter(column.cells), "")
    found: list[str] = []
    for leaf in rows:
        cell = column.cells.get(leaf)
        found.append("" if cell is None else str(cell.nodes) if cell.changed or leaf == first else IDLE)
    kernels = column.kernels
    return [*found, "" if kernels is None else f"{kernels} kernel{'' if kernels == 1 else 's'}"]


def _most_changed(found: Overview) -> tuple[list[str], list[str]]:
    """The rows to show, in order, and the names of those that changed least and are left out."""
    if len(found.rows) <= ROWS:
        return found.rows, []
    weight = {
        leaf: max((_weight(column, leaf) for column in found.columns), default=0)
        for leaf in found.rows
        if any(column.cells[leaf].changed for column in found.columns if leaf in column.cells)
    }
    kept = set(sorted(weight, key=lambda leaf: -weight[leaf])[: ROWS - 1])
    shown = [leaf for leaf in found.rows if leaf in kept or leaf not in weight]
    return shown, [leaf for leaf in found.rows if leaf not in shown]


def _weight(column: Column, leaf: str) -> int:
    cell = column.cells.get(leaf)
    return sum(abs(count) for count in cell.ops_delta.values()) if cell else 0


def _changes(column: Column, rows: Sequence[str]) -> list[str]:
    """What came and went, where there is one column and so room for it."""
    found: list[str] = []
    for leaf in rows:
        delta = column.cells[leaf].ops_delta if leaf in column.cells else {}
        shown = [f"{op} {count:+d}" for op, count in [*delta.items()][:4]]
        more = f" and {len(delta) - 4} more" if len(delta) > 4 else ""
        found.append(", ".join(shown) + more)
    return found


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many columns fit; one in any case."""
    used = count = 0
    for each in widths:
        used += each + 2
        if used > room:
            break
        count += 1
    return max(count, 1)


def _line(name: str, cells: Sequence[str], widths: Sequence[int], first: int) -> str:
    columns = [cell.rjust(each) for cell, each in zip(cells, widths, strict=False)]
    return "  ".join([f"  {_cut(name, first).ljust(first)}", *columns])


def _widest(names: Sequence[str]) -> int:
    return max(map(len, names), default=0)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 1)]}…"
