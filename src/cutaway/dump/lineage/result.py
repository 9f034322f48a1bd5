"""What a lineage consists of.

Lineage ── Way ─┬─ captured nodes: where they stand in the model
                ├─ Step: what the nodes are after each stage
                └─ KernelCall: where they are computed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, TypeVar

Kind = Literal["node", "source", "layer", "kernel"]
T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """A line of the model's Python.

    Attributes:
        file, line, function: where it is.
        code: its text.
    """

    file: str
    line: int
    function: str
    code: str

    @property
    def short(self) -> str:
        """`qwen3.py:162`."""
        return f"{self.file.replace(chr(92), '/').rpartition('/')[2]}:{self.line}"


@dataclass(frozen=True)
class StepNode:
    """A node at a stage.

    Attributes:
        name: its name in that graph.
        operator: what it calls, as people say it; `input`, `constant` or `output` for nodes that are no call.
        type: dtype and shape of its value.
        layer: its innermost layer as "fqn: class", as far as that graph tells; empty when unknown.
    """

    name: str
    operator: str
    type: str
    layer: str = ""


@dataclass(frozen=True)
class Captured(StepNode):
    """A node of the graph that was captured.

    Attributes:
        line: where it stands in the model; None when unknown.
        layers: all its layers as "fqn: class", outermost first.
    """

    line: Line | None = None
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Step:
    """What the nodes are after a stage.

    Attributes:
        selector: the snapshot.
        leaf: the last component of its selector: the stage, and for a pass its number and name.
        stage, phase, piece, range: as in the snapshot; the piece whose layers are meant.
        compiled_with: the equal piece whose snapshot this is, when the piece was compiled with it.
        operators: what the nodes call.
        make_nodes: makes `nodes`; most steps are only compared by their operators.
    """

    selector: str
    leaf: str
    stage: str
    phase: str | None
    piece: str | None
    range: str | None
    compiled_with: str | None
    operators: tuple[str, ...]
    make_nodes: Callable[[], tuple[StepNode, ...]] = field(repr=False)

    @cached_property
    def nodes(self) -> tuple[StepNode, ...]:
        """The nodes that belong to the lineage, in graph order."""
        return self.make_nodes()

    @property
    def place(self) -> tuple[str | None, str | None, str | None]:
        """Piece, range and phase."""
        return (self.piece, self.range, self.phase if self.phase in ("forward", "backward") else None)


@dataclass(frozen=True)
class KernelCall:
    """A call in the generated code that computes nodes of the lineage.

    Attributes:
        kernel: its name.
        number: which of the kernel's calls it is, from 1 on.
        selector: of the output code.
        piece, range, phase: of the last graph.
        file: the output code's file; None when the dump lacks it.
        lines: where the call stands in the file; several when the dump does not say which one it is.
        kernel_file: the kernel's own source; None for one of a library.
        nodes: the lineage's nodes of the last graph that it computes.
        others: names of the other nodes that it computes.
    """

    kernel: str
    number: int
    selector: str
    piece: str | None
    range: str | None
    phase: str | None
    file: str | None
    lines: tuple[int, ...]
    kernel_file: str | None
    nodes: tuple[StepNode, ...]
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The call's name: the kernel's, and which call of it: `extern_kernels.mm#2`."""
        return self.kernel if self.number == 1 else f"{self.kernel}#{self.number}"

    @property
    def place(self) -> tuple[str | None, str | None, str | None]:
        """Piece, range and phase."""
        return (self.piece, self.range, self.phase if self.phase in ("forward", "backward") else None)


@dataclass(frozen=True)
class Gone:
    """A snapshot in which nothing stems from the nodes of the one before it any more.

    Attributes:
        selector: the snapshot.
        leaf: the last component of its selector.
        by_pass: whether it is the graph after a pass, which then removed them.
        certain: whether the origin of everything in it is known.
    """

    selector: str
    leaf: str
    by_pass: bool
    certain: bool


@dataclass(frozen=True)
class Way:
    """The way of some nodes through all stages.

    Attributes:
        compilation: which one.
        start: where it was begun to be followed, as `SELECTOR:NODE`.
        nodes: the nodes that were asked for, there.
        captured: the captured nodes that they stem from; empty when unknown.
        lines: the lines of the model that those stand in; without them, what the nodes themselves note.
        layers: the layers that those are in, as "fqn: class", the innermost; without them, what the nodes note.
        steps: from the captured graph on, what leads to the nodes and what becomes of them.
        kernels: the calls that compute what becomes of them.
        gone: where nothing is left of them.
        ends: selectors of the pieces that run as they are, uncompiled, and of the last graphs that have some of them.
        unknown: what the dump does not tell, in words.
        made_in: for inputs that another piece makes: the pieces that do, with the nodes there.
        taken_by: the pieces that take the nodes as an input, with their inputs.
    """

    compilation: str
    start: str
    nodes: tuple[StepNode, ...]
    captured: tuple[Captured, ...]
    lines: tuple[Line, ...]
    layers: tuple[str, ...]
    steps: tuple[Step, ...]
    kernels: tuple[KernelCall, ...]
    gone: tuple[Gone, ...] = ()
    ends: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    made_in: tuple[Step, ...] = ()
    taken_by: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """How much is known, in the last graphs that were met.

    Attributes:
        graphs: how many there are.
        nodes, known: their call nodes, and those of them that lead back to a line of the model.
        calls, told: the calls of kernels in their code, and those of them whose nodes are known.
    """

    graphs: int = 0
    nodes: int = 0
    known: int = 0
    calls: int = 0
    told: int = 0


@dataclass(frozen=True)
class Member:
    """What was asked for, in one place.

    Attributes:
        title: a node as `SELECTOR:NODE`, a line in a layer, a layer, or a kernel in a code.
        ways: one for a node or a line; for a layer or a kernel one for each line of each layer that is in it.
    """

    title: str
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Group:
    """Members that are the same but for the numbers of layers, pieces and kernels.

    Attributes:
        members: all of them; the first is shown.
    """

    members: tuple[Member, ...]

    @property
    def shown(self) -> Member:
        """The one that is shown."""
        return self.members[0]


@dataclass(frozen=True)
class Lineage:
    """The answer to `cutaway lineage DUMP NODE`.

    Attributes:
        asked: the question.
        kind: what it was understood as.
        groups: what was asked for, wherever it is, those together that are the same but for numbers.
        coverage: how much is known, in the last graphs that were met.
        notes: what else there is to say.
    """

    asked: str
    kind: Kind
    groups: tuple[Group, ...]
    coverage: Coverage
    notes: tuple[str, ...] = ()

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """All ways, nothing folded."""
        return tuple(way for group in self.groups for member in group.members for way in member.ways)

    @cached_property
    def sources(self) -> tuple[Line, ...]:
        """The lines of the model, all of them once."""
        return _once(self.ways, lambda way: way.lines)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers as "fqn: class", the innermost around each captured node."""
        return _once(self.ways, lambda way: way.layers)

    @cached_property
    def captured(self) -> tuple[Captured, ...]:
        """The captured nodes."""
        return _once(self.ways, lambda way: way.captured)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The stages, with the nodes that they have of any way."""
        found: dict[tuple[str, str | None], list[Step]] = {}
        for step in (step for way in self.ways for step in way.steps):
            found.setdefault((step.selector, step.piece), []).append(step)
        return tuple(map(_united, found.values()))

    @cached_property
    def kernels(self) -> tuple[KernelCall, ...]:
        """The calls of kernels, each with the nodes of any way that it computes."""
        found: dict[tuple[str, str | None, str, int], KernelCall] = {}
        for call in (call for way in self.ways for call in way.kernels):
            key = (call.selector, call.piece, call.kernel, call.number)
            known = found.get(key)
            if known is not None:
                nodes = tuple(dict.fromkeys((*known.nodes, *call.nodes)))
                names = {node.name for node in nodes}
                others = tuple(name for name in known.others if name not in names)
                call = replace(call, nodes=nodes, others=others)
            found[key] = call
        return tuple(found.values())


def _united(steps: Sequence[Step]) -> Step:
    """One step with the nodes of all of these, which are of one snapshot."""
    nodes = tuple(dict.fromkeys(node for step in steps for node in step.nodes))
    return replace(steps[0], operators=tuple(node.operator for node in nodes), make_nodes=lambda: nodes)


def _once(ways: Iterable[Way], of: Callable[[Way], Sequence[T]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(each for way in ways for each in of(way)))
