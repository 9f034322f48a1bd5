"""Steps of a compile, the graphs after them, and how two of those differ."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Size = int | str


class Step(Struct):
    """A snapshot, a pass without one, or generated text."""

    kind: Literal["snapshot", "pass", "code"]
    selector: str
    name: str
    stage: str
    phase: str | None
    pass_name: str | None = field(name="pass")
    piece: str | None
    range: str | None
    changed: bool
    nodes: int | None
    ops_delta: dict[str, int]
    ms: float | None
    graph: str | None
    same_as: str | None
    before: str | None
    cached: bool
    code: str | None
    counts: dict[str, int]
    notes: dict[str, Any]
    coverage: dict[str, float]
    files: list[str]
    seq: int


class StageWords(Struct):
    """What a stage is, for a reader who is new to torch.compile."""

    title: str
    sentence: str


class Steps(Struct):
    """The steps of a compilation, in the order in which they were recorded."""

    compilation: str
    steps: list[Step]
    stages: dict[str, StageWords]


class SymbolRange(Struct):
    """A symbolic size."""

    min: int | None
    max: int | None
    hint: int | None
    source: str | None


class SourceLine(Struct):
    """A line of the model's Python."""

    file: str
    line: int
    function: str
    code: str


class GraphNode(Struct):
    """A node."""

    id: int
    name: str
    op: str
    target: str
    short: str
    text: str
    inputs: list[int]
    after: list[int]
    type: str
    dtype: str | None
    shape: list[Size] | None
    device: str | None
    layer: int | None
    source: int | None
    input: str | None
    provider: str | None
    bytes: int | None


class InnerGraph(Struct):
    """A graph inside of another."""

    name: str
    around: int | None
    taken_by: int | None
    operands: list[int | None]
    layers: list[list[str]]
    sources: list[SourceLine]
    nodes: list[GraphNode]


class Graph(Struct):
    """A graph, whatever snapshots have it."""

    fingerprint: str
    symbols: dict[str, SymbolRange]
    layers: list[list[str]]
    sources: list[SourceLine]
    nodes: list[GraphNode]
    inside: list[InnerGraph]


class Snapshot(Struct):
    """What is a snapshot's own of a graph."""

    selector: str
    graph: str
    before: str | None
    layer_map: dict[str, str]
    origins: list[list[int]] | None
    providers: dict[str, str]
    kernels: dict[str, list[str]]
    donated_inputs: list[int]


class LayerRow(Struct):
    """A line of the structured form."""

    kind: Literal["layer", "node", "note"]
    depth: int
    text: str
    type: str
    source: str
    provider: str
    mark: str
    nodes: list[int]
    fqn: str | None
    cls: str | None
    times: int


class Layers(Struct):
    """The structured form of a graph; a layer's rows follow it, deeper by one."""

    selector: str
    rows: list[LayerRow]


class TextMark(Struct):
    """Lines of a text that open something."""

    line: int
    end: int
    kind: Literal["kernel", "piece", "source"]
    name: str
    selector: str | None
    nodes: list[str]


class Text(Struct):
    """A file of the dump."""

    selector: str
    language: Literal["python", "cpp", "text"]
    path: str
    text: str
    marks: list[TextMark]


class Side(Struct):
    """One of two graphs that are compared."""

    selector: str
    graph: str
    nodes: int
    run: str
    process: str


class AbsentLayers(Struct):
    """Layers in which a rewrite was not found, and why."""

    layers: list[str]
    reason: str


class RewritePlace(Struct):
    """Where a rewrite was found; ids of nodes."""

    layer: str | None
    before: list[int]
    after: list[int]


class Rewrite(Struct):
    """These nodes became those."""

    kind: Literal["inserted", "deleted", "replaced", "changed", "moved"]
    text: str
    cls: str
    often: str
    count: int
    layers: list[str | None]
    providers: list[str]
    passes: list[str]
    types: list[tuple[str, str]]
    absent: list[AbsentLayers]
    places: list[RewritePlace]
    graphs: list[str]


class DifferenceRow(Struct):
    """A line of two graphs side by side."""

    kind: Literal["layer", "same", "changed", "removed", "added", "replaced", "note"]
    depth: int
    before: LayerRow | None
    after: LayerRow | None
    rewrite: int | None


class Difference(Struct):
    """How two graphs differ."""

    before: Side
    after: Side
    equal: bool
    summary: str
    ops_delta: dict[str, int]
    sizes: list[tuple[Size, Size]]
    rewrites: list[Rewrite]
    kept: dict[str, int]
    removed: list[int]
    added: list[int]
    changed: list[tuple[int, int]]
    rows: list[DifferenceRow]
