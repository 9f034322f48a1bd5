"""What goes across graphs: which node is which, where nodes are, how two processes compare."""

from __future__ import annotations

from msgspec import Struct


class SnapshotWays(Struct):
    """For each node of a snapshot, an index into `sets`, which are sets of roots; the empty one means unknown."""

    selector: str
    graph: str
    range: str | None
    roots: list[int]
    sets: list[list[int]]


class Coverage(Struct):
    """Calls of the last graphs, and those of them whose origin is known."""

    nodes: int
    known: int


class KernelCall(Struct):
    """A call of a kernel in output code."""

    range: str | None
    phase: str | None
    kernel: str
    code: str
    lines: list[int]
    kernel_code: str | None
    nodes: list[int]


class Ways(Struct):
    """Which node is which through a compilation: by nodes of its first snapshot, called roots."""

    compilation: str
    first: str | None
    lines: dict[str, list[int]]
    pieces: dict[str, list[str]]
    snapshots: list[SnapshotWays]
    calls: list[KernelCall]
    coverage: Coverage


class PieceWays(Struct):
    """The same for a piece."""

    compilation: str
    piece: str
    compiled_with: str | None
    layer_map: dict[str, str]
    snapshots: list[SnapshotWays]
    calls: list[KernelCall]


class SearchGraph(Struct):
    """A graph, and the snapshots that have it."""

    graph: str
    selectors: list[str]


class SearchColumns(Struct):
    """Columns of equal length; strings by their index."""

    graph: list[int]
    node: list[int]
    name: list[int]
    op: list[int]
    target: list[int]
    layer: list[int]
    cls: list[int]
    dtype: list[int]
    type: list[int]
    source: list[int]
    code: list[int]
    provider: list[int]
    kernel: list[int]


class SearchTable(Struct):
    """All nodes of all graphs, once each."""

    strings: list[str]
    graphs: list[SearchGraph]
    columns: SearchColumns


class ComparedProcess(Struct):
    """One of two processes."""

    run: str
    process: str
    title: str


class SettingPair(Struct):
    """A setting that differs."""

    name: str
    a: str | None
    b: str | None


class TotalPair(Struct):
    """A number of either."""

    name: str
    a: float | None
    b: float | None


class Parting(Struct):
    """The first step after which the graphs differ."""

    text: str
    a: str | None
    b: str | None


class ComparedStep(Struct):
    """The same step of either."""

    name: str
    a: str | None
    b: str | None
    same: bool


class ComparedPiece(Struct):
    """A piece of either for one range; neither piece: the whole graph."""

    a: str | None
    b: str | None
    range: str | None
    same: bool
    parts_at: Parting | None
    steps: list[ComparedStep]


class ComparedCompilation(Struct):
    """A compilation of either."""

    name: str
    a: str | None
    b: str | None
    same: bool
    text: str
    pieces: list[ComparedPiece]


class Comparison(Struct):
    """Two processes compared."""

    a: ComparedProcess
    b: ComparedProcess
    equal: bool
    summary: list[str]
    settings: list[SettingPair]
    totals: list[TotalPair]
    compilations: list[ComparedCompilation]
