"""The types of what a dump holds: the manifest's events and the node tables, schema 1.

Decoding is tolerant where the format may grow (unknown keys and unknown kinds of events are kept out of the
way) and strict about the type of everything that is known. docs/dump-format.md says what each key means.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

SCHEMA = 1
"""The newest schema this Cutaway reads."""

Size = int | str
"""A size: a number, or an expression of named symbols."""


class File(Struct):
    """A file that was written whole before it was announced.

    Attributes:
        kind: "raw", "layers", "nodes", "code" or "inputs".
        path: relative to the process folder.
        bytes: its length.
        digest: blake2b of its bytes, 16 bytes, in hex.
    """

    kind: str
    path: str
    bytes: int
    digest: str


class Event(Struct, tag_field="event"):
    """What every event has.

    Attributes:
        seq: the number of the event, from 0 on, without gaps.
        time: seconds since the epoch.
        compilation: the compilation it belongs to; None for the process.
    """

    seq: int
    time: float
    compilation: str | None = None


class Run(Event, tag="run"):
    """The first event: which program, in which versions, in which process."""

    schema: int = SCHEMA
    cutaway: str = ""
    torch: str = ""
    python: str = ""
    pid: int = 0
    rank: int = 0
    dp_rank: int = 0
    argv: list[str] = []
    context: str | None = None


class CompilationStarted(Event, tag="compilation"):
    """A function was captured."""

    function: str | None = None
    file: str | None = None
    line: int | None = None
    model: str | None = None
    compile_id: str | None = None
    recompile: int = 0
    reason: list[str] = []
    folder: str | None = None


class Step(Event):
    """What snapshots, passes and code have in common: a name, and a place in the compile."""

    selector: str = ""
    phase: str | None = None
    piece: str | None = None
    range: str | None = None


class GraphStep(Step):
    """What a snapshot and a pass have in common.

    Attributes:
        changed: whether the graph differs from the one before.
        node_count: the manifest's `nodes`.
        ops_delta: op -> how many more (or fewer) of it than before.
        ms: how long the pass took, in milliseconds.
    """

    stage: str = ""
    pass_name: str | None = field(default=None, name="pass")
    number: int | None = None
    changed: bool = False
    node_count: int = field(default=0, name="nodes")
    ops_delta: dict[str, int] = {}
    ms: float | None = None


class SnapshotTaken(GraphStep, tag="snapshot"):
    """A graph at a stage.

    Attributes:
        graph: its fingerprint, the name of its node table.
        files: the files that hold it; empty when an earlier snapshot (`same_as`) had the same graph.
        layers: fqns of its layers, in the order in which they first appear.
        origins: the manifest's `from`, for a repeated piece: per node, ids in the previous snapshot.
        donated_inputs: indices of the inputs whose memory may be reused.
        providers: node name -> who implements it.
        cached: read back from a cache instead of compiled.
        cached_from: number of the `cache` event that says where from.
        coverage: per cent of call nodes with a layer, a source, an origin.
    """

    graph: str = ""
    files: list[File] = []
    same_as: str | None = None
    layers: list[str] = []
    origins: list[list[int] | None] | None = field(default=None, name="from")
    donated_inputs: list[int] = []
    providers: dict[str, str] = {}
    cached: bool = False
    cached_from: int | None = None
    coverage: dict[str, float] = {}


class PassRan(GraphStep, tag="pass"):
    """A pass ran, whether or not it changed anything.

    Attributes:
        counts: what it counted: `matches` of a fusion, `hits` and `misses` of a cache.
        notes: what else it had to say.
        cached, cached_from: as for a snapshot.
    """

    cached: bool = False
    cached_from: int | None = None
    counts: dict[str, int] = {}
    notes: dict[str, Any] = {}


class CodeWritten(Step, tag="code"):
    """Generated text: output code, a kernel, the stitching code, patterns, guards.

    Attributes:
        kernels: kernel name -> names of the last graph's nodes in it.
    """

    kind: str = ""
    files: list[File] = []
    same_as: str | None = None
    kernels: dict[str, list[str]] = {}
    cached: bool = False
    cached_from: int | None = None


class KeptInput(Struct):
    """An input of a compiled graph at a call.

    Attributes:
        name: the placeholder's, in the last graph; None when that was not seen (a cache served the graph).
        dtype, shape, stride, device: of a tensor.
        value: of a number.
        file: path of the file that holds the tensor.
        left_out: why there is none; None when there is one, or need not be.
    """

    name: str | None = None
    dtype: str | None = None
    shape: list[int] | None = None
    stride: list[int] | None = None
    device: str | None = None
    value: int | float | bool | None = None
    file: str | None = None
    left_out: str | None = None


class InputsKept(Step, tag="inputs"):
    """The real inputs of a compiled graph, at its first call.

    Attributes:
        trial: they were made up by an engine that measured or warmed up; real ones may follow in another event.
        inputs: in the order in which the compiled graph takes them.
    """

    trial: bool = False
    inputs: list[KeptInput] = []
    files: list[File] = []


class CacheAsked(Event, tag="cache"):
    """A compile cache was asked: hit, miss, store, load, bypass or shared."""

    kind: str = ""
    result: str = ""
    key: str | None = None
    factors: Any = None
    piece: str | None = None
    range: str | None = None


class Metric(Event, tag="metric"):
    """Numbers or reasons about the compile."""

    kind: str = ""
    values: dict[str, Any] = {}
    piece: str | None = None
    range: str | None = None


class Failure(Event, tag="error"):
    """Recording failed somewhere; the compile went on."""

    where: str = ""
    error: str = ""
    traceback: str = ""


class End(Event, tag="end"):
    """A compilation is over; without a compilation: the recording is."""

    values: dict[str, Any] = {}


class Output(Struct, omit_defaults=True):
    """One of the values of a node with several."""

    dtype: str | None = None
    shape: list[Size] | None = None
    stride: list[Size] | None = None
    device: str | None = None
    value: Size | None = None
    repr: str | None = None
    outputs: list[Output] | None = None


class Constant(Struct, omit_defaults=True):
    """What a `get_attr` node reads: a tensor (small ones with a digest), or the type of something else."""

    dtype: str | None = None
    shape: list[Size] | None = None
    stride: list[Size] | None = None
    device: str | None = None
    digest: str | None = None
    repr: str | None = None


class Node(Struct, omit_defaults=True):
    """A node of a graph.

    Attributes:
        id: its index in the table.
        op: placeholder, get_attr, call_function, call_method, call_module or output.
        args, kwargs: values as in docs/dump-format.md, "Arguments"; a reference is `{"node": id}`.
        value: the expression of a symbolic number.
        repr: its value as text when it is neither a tensor nor a symbolic number.
        layer, source: indices into the table's `layers` and `sources`; None when unknown.
        origins: the manifest's `from`: ids in the previous snapshot; empty when unknown.
        input: for a placeholder, the model path of the weight or the name of the input.
        provider: who implements the op.
    """

    id: int
    name: str
    op: str
    target: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    dtype: str | None = None
    shape: list[Size] | None = None
    stride: list[Size] | None = None
    offset: Size | None = None
    device: str | None = None
    requires_grad: bool = False
    value: Size | None = None
    repr: str | None = None
    layer: int | None = None
    source: int | None = None
    origins: list[int] = field(default_factory=list, name="from")
    input: str | None = None
    outputs: list[Output] | None = None
    constant: Constant | None = None
    provider: str | None = None


class Symbol(Struct):
    """A symbolic size: its range (None: no end), its value while tracing, and where it comes from."""

    min: int | None = None
    max: int | None = None
    hint: int | None = None
    source: str | None = None


class Source(Struct):
    """A line of the model's Python."""

    file: str = ""
    line: int = 0
    function: str = ""
    code: str = ""


class NodeTable(Struct, kw_only=True):
    """A graph, or (without a fingerprint) a graph inside one.

    Attributes:
        layers: paths of "fqn: class", outermost first; the root has its class alone.
        graphs: attribute name -> the graph inside.
    """

    schema: int = SCHEMA
    fingerprint: str | None = None
    symbols: dict[str, Symbol] = {}
    layers: list[list[str]] = []
    sources: list[Source] = []
    nodes: list[Node]
    graphs: dict[str, NodeTable] = {}

    def layer(self, node: Node) -> tuple[str, ...]:
        """The node's layers as "fqn: class", outermost first; empty when unknown."""
        return () if node.layer is None else tuple(self.layers[node.layer])

    def source(self, node: Node) -> Source | None:
        """The line of Python that the node comes from; None when unknown."""
        return None if node.source is None else self.sources[node.source]


AnyEvent = (
    Run | CompilationStarted | SnapshotTaken | PassRan | CodeWritten | InputsKept | CacheAsked | Metric | Failure | End
)
