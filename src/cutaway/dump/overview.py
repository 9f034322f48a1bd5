"""A compilation as one small table: what changed its graphs, by piece, however many pieces and ranges there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cutaway.dump import schema
from cutaway.dump.compilation import Compilation, Piece, Step
from cutaway.dump.fold import courses, fold_pieces, fold_ranges
from cutaway.dump.snapshot import Code
from cutaway.record.layers.words import blocks


@dataclass(frozen=True)
class Cell:
    """A stage or a pass in one column.

    Attributes:
        nodes: of the graph after it.
        changed: whether that differs from the graph before.
        ops_delta: operator -> how many more (or fewer) of it than before.
    """

    nodes: int
    changed: bool
    ops_delta: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Column:
    """A graph on its way through the stages, and all that went the same way.

    Attributes:
        pieces: names of the pieces; empty for what is not split.
        folders: what stands between the compilation (or the piece) and the stage in their selectors, such as
            `range_8_8` or `forward`; `""` for nothing.
        cells: last component of a selector -> what it came to.
        kernels: how many kernels were generated; None where there is no code.
    """

    pieces: tuple[str, ...]
    folders: tuple[str, ...]
    cells: dict[str, Cell]
    kernels: int | None

    def path(self, leaf: str) -> str:
        """The path of a step below the compilation; of the first of those that are the same."""
        return "/".join(part for part in (*self.pieces[:1], self.folders[0], leaf) if part)


@dataclass(frozen=True)
class Kind:
    """Pieces that are equal up to names.

    Attributes:
        names: their names, in order.
        layers: the numbered layers that they are of, and other outermost ones.
        nodes: of each; None where the dump has no graph.
        ranges: groups of compile ranges, those that went through the same graphs together; empty for a piece
            that runs as it is.
        again: of the pieces that were compiled although an equal one was: name -> the ranges.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    nodes: int | None
    ranges: tuple[tuple[str, ...], ...]
    again: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Overview:
    """What there is of a compilation, identical parts once.

    Attributes:
        whole: steps of the graph before and at the split; empty when it was not split.
        kinds: its pieces.
        columns: what was compiled.
        rows: last components of selectors that changed a graph in some column, and the first of all, in order.
        idle: how many passes changed nothing wherever they ran.
    """

    whole: list[Step]
    kinds: list[Kind]
    columns: list[Column]
    rows: list[str]
    idle: int


def overview(compilation: Compilation) -> Overview:
    """A compilation at a glance."""
    pieces = {piece.name: piece for piece in compilation.pieces}
    whole = [step for step in compilation.steps if step.piece is None]
    kinds: list[Kind] = []
    columns: list[Column] = []
    for same in fold_pieces(compilation):
        first, others = pieces.get(same.shown), [pieces[name] for name in same.others]
        alone = [first, *others] if first else others
        if not alone:
            continue
        kinds.append(_kind(alone))
        known = courses(alone[0])
        own = [piece for piece in alone[1:] if piece.ranges and not courses(piece) <= known]
        like = tuple(piece.name for piece in alone[1:] if piece not in own)
        columns += _folded([*_columns(alone[0], like), *(each for piece in own for each in _columns(piece, ()))])
    if not pieces:
        columns, whole = _of_steps((), "", whole), []
    rows = rows_of(columns)
    return Overview(whole, kinds, columns, rows, _idle(compilation, rows))


def _kind(pieces: Sequence[Piece]) -> Kind:
    first = pieces[0]
    counts = [step.node_count for step in first.snapshots if step.stage == "piece"]
    return Kind(
        tuple(piece.name for piece in pieces),
        tuple(dict.fromkeys(layer for piece in pieces for layer in blocks(piece.layers))),
        counts[0] if counts else None,
        tuple((same.shown, *same.others) for same in fold_ranges(first)),
        {piece.name: tuple(piece.ranges) for piece in pieces[1:] if piece.ranges},
    )


def _columns(piece: Piece, like: tuple[str, ...]) -> list[Column]:
    """What a piece was compiled to, range by range; the graph as it was split off is the first row of each."""
    before = [step for step in piece.steps if step.range is None]
    found: list[Column] = []
    for same in fold_ranges(piece):
        names = [same.shown, *same.others]
        steps = [step for step in piece.steps if step.range == same.shown]
        for column in _of_steps((piece.name, *like), piece.name, steps):
            cells = {**_cells(before), **column.cells}
            # A folder that begins with the range is that of the others but for the range.
            rest = column.folders[0].removeprefix(f"range_{same.shown}")
            folders = tuple(f"range_{name}{rest}" for name in names)
            found.append(replace(column, cells=cells, folders=folders))
    return found


def _of_steps(pieces: tuple[str, ...], above: str, steps: Iterable[Step]) -> list[Column]:
    """Steps by the folder that they are in: a forward and a backward graph stand in columns of their own."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        folder = step.selector.rpartition("/")[0].partition("/")[2]
        if isinstance(step, Code) and step.kind == "kernel":
            folder = folder.removesuffix("kernels").rstrip("/")
        groups.setdefault(folder.removeprefix(above).strip("/"), []).append(step)
    return [
        Column(pieces, (folder,), _cells(group), _kernels(group))
        for folder, group in groups.items()
        if _cells(group) or _kernels(group) is not None
    ]


def _cells(steps: Iterable[Step]) -> dict[str, Cell]:
    return {
        step.selector.rpartition("/")[2]: Cell(step.node_count, step.changed, step.ops_delta)
        for step in steps
        if isinstance(step, schema.GraphStep)
    }


def _kernels(steps: Iterable[Step]) -> int | None:
    kinds = [step.kind for step in steps if isinstance(step, Code)]
    return kinds.count("kernel") if "kernel" in kinds or "output_code" in kinds else None


def _folded(columns: Iterable[Column]) -> list[Column]:
    """Columns of equal pieces in which the same numbers stand are one: their graphs differ in sizes at most."""
    found: dict[tuple[object, ...], Column] = {}
    for column in columns:
        key = (tuple((leaf, cell.nodes) for leaf, cell in column.cells.items()), column.kernels)
        there = found.get(key)
        if there is None:
            found[key] = column
            continue
        pieces = tuple(sorted({*there.pieces, *column.pieces}))
        folders = tuple(dict.fromkeys(there.folders + column.folders))
        found[key] = replace(there, pieces=pieces, folders=folders)
    return list(found.values())


def rows_of(columns: Sequence[Column]) -> list[str]:
    """Steps that changed a graph in some column, and the first of each, in an order that keeps that of each."""
    wanted = {leaf for column in columns for leaf, cell in column.cells.items() if cell.changed}
    wanted |= {next(iter(column.cells)) for column in columns if column.cells}
    before: dict[str, set[str]] = {}
    for column in columns:
        there = [leaf for leaf in column.cells if leaf in wanted]
        for i, leaf in enumerate(there):
            before.setdefault(leaf, set()).update(there[max(i - 1, 0) : i])
    left, rows = [*before], list[str]()
    while left:
        # Where columns have it in different orders there may be none that nothing stands before.
        ready = next((leaf for leaf in left if before[leaf].isdisjoint(left)), left[0])
        left.remove(ready)
        rows.append(ready)
    return rows


def _idle(compilation: Compilation, rows: Sequence[str]) -> int:
    ran = {step.selector.rpartition("/")[2] for step in compilation.steps if isinstance(step, schema.PassRan)}
    return len(ran.difference(rows))
