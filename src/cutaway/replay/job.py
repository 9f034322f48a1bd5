"""What the parent asks of the child, and what the child answers: plain JSON, so that neither unpickles the other.

The child runs code out of the dump, and what it answers is as little to be trusted as the dump: it is decoded by type,
and nothing in it is executed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Verdict = Literal["same", "close", "apart", "kind", "unwritten", "skipped"]
"""Equal bits; equal within tolerance; not equal; another dtype, shape or number of values; memory that nobody had
written to; not compared (`Comparison.why`)."""

FINE: tuple[Verdict, ...] = ("same", "close", "unwritten", "skipped")


class Saved(Struct):
    """An input that was recorded: a tensor's file, or a number.

    Attributes:
        index: which input of the graph it is.
        path: of the file, absolute; None for a number.
        digest: blake2b of the file's bytes, 16 bytes, in hex.
        number: the number.
    """

    index: int
    path: str | None = None
    digest: str | None = None
    number: int | float | bool | None = None


class Given(Struct):
    """Where an input of the second graph comes from.

    Attributes:
        index: which input it is.
        input: which input of the first graph it is.
        value: or which value the first graph computes.
    """

    index: int
    input: int | None = None
    value: str | None = None


class Graph(Struct):
    """A graph to run.

    Attributes:
        text: the raw file.
        title: its file's name, for tracebacks.
        sizes: symbol -> size.
        recorded: inputs that were recorded; all others are made with the seed.
    """

    text: str
    title: str
    sizes: dict[str, int] = {}
    recorded: list[Saved] = []


class End(Struct):
    """One side of a pair of results: an output by its position, or a value by its node's name."""

    output: int | None = None
    value: str | None = None


class Job(Struct, kw_only=True):
    """What the child is to do.

    Attributes:
        graphs: one to run; two to compare, the reference first.
        compiled: compare the one graph, run node by node, with what Inductor makes of it.
        given: the second graph's inputs that come from the first.
        begin: the first graph's node at which `Given.value`s are taken; None for where each is computed.
        until: the first graph's node after which a value that is an `End` stays as it is, whatever is written to it.
        values: (node of the first graph, node of the second): values that should be the same.
        outputs: results that should be the same.
        seed: for inputs, and for what draws random numbers.
        rtol, atol: tolerance; None for what `compare.TOLERANCES` has for each dtype.
        memory: so many bytes of the first graph's values are held at a time.
    """

    graphs: list[Graph]
    compiled: bool = False
    given: list[Given] = []
    begin: str | None = None
    until: str | None = None
    values: list[tuple[str, str]] = []
    outputs: list[tuple[End, End]] = []
    seed: int = 0
    rtol: float | None = None
    atol: float | None = None
    memory: int = 1 << 30


class Comparison(Struct, kw_only=True):
    """Two values compared.

    Attributes:
        verdict: how they compare.
        types: dtype and shape of each.
        elements: how many there are; `differing` of them are not the same, `beyond` of them not within tolerance.
        unwritten: how many lie in memory to which the first graph has not written.
        ulp: the largest distance in units in the last place; None where there is none (NaN, infinity, other types).
        absolute, relative: the largest errors; None where they are no number.
        at: index of the element that is furthest beyond tolerance, and its `values`.
        strides: the strides, where they differ.
        leaf: for nodes with several values, which one this is about.
        why: for "skipped" and "kind", in words.
        twins: other nodes of the reference that have the very value that is not its counterpart's: which node is which
            was then a wrong guess.
    """

    verdict: Verdict
    types: tuple[str, str] = ("", "")
    elements: int = 0
    differing: int = 0
    beyond: int = 0
    unwritten: int = 0
    ulp: int | None = None
    absolute: float | None = None
    relative: float | None = None
    at: list[int] | None = None
    values: tuple[str, str] | None = None
    strides: tuple[list[int], list[int]] | None = None
    leaf: int = 0
    why: str = ""
    twins: list[str] = []

    @property
    def fine(self) -> bool:
        """Whether there is nothing to say against it."""
        return self.verdict in FINE


class Value(Struct, kw_only=True):
    """A result of a graph.

    Attributes:
        type: dtype and shape; empty for what is no tensor.
        stride: of a tensor.
        total: the sum of its elements; None where that is no number.
        digest: blake2b of its elements' bytes, 16 bytes, in hex.
        unwritten: how many of its elements lie in memory that the graph has not written to.
        text: what is no tensor, as text.
    """

    type: str = ""
    stride: list[int] = []
    total: float | None = None
    digest: str = ""
    unwritten: int = 0
    text: str = ""


class Ran(Struct, kw_only=True):
    """What a run of one graph gave.

    Attributes:
        outputs: its results, flattened.
        changed: indices of inputs that it wrote to.
        random: names of the nodes that drew random numbers.
        nodes: how many nodes were run.
        after_writes: node -> nodes that wrote to memory which it reads.
        writers: for each output, the node that wrote to its memory last.
    """

    outputs: list[Value] = []
    changed: list[int] = []
    random: list[str] = []
    nodes: int = 0
    after_writes: dict[str, list[str]] = {}
    writers: list[str | None] = []


class Problem(Struct, kw_only=True):
    """Why the child could not do it.

    Attributes:
        graph: which of the graphs; None for neither.
        step: what it was doing: "load" (of the file), "inputs", "run", "compile".
        node: the node that failed, where one did.
        error: type and message.
        traceback: of the child.
    """

    graph: int | None = None
    step: str = ""
    node: str | None = None
    error: str = ""
    traceback: str = ""


class Answer(Struct, kw_only=True):
    """What the child found.

    Attributes:
        runs: of each graph; for `compiled`, node by node and then compiled.
        values: the comparison of each of the job's `values`; shorter or with None where they were not reached.
        left_out: how many were not, for lack of memory.
        outputs: the comparison of each of the job's `outputs`.
        inputs: (input of the second graph, comparison): inputs that either graph wrote to.
        inside: for `compiled`, which nodes were compared with what was compiled; `values` goes with it.
        method: for `compiled` that parts, how the nodes were compared: "outputs" (all of them made outputs at once) or
            "prefixes" (the graph cut off after a node, again and again).
        problem: why it could not be done.
    """

    runs: list[Ran] = []
    values: list[Comparison | None] = []
    left_out: int = 0
    outputs: list[Comparison] = []
    inputs: list[tuple[int, Comparison]] = []
    inside: list[str] = []
    method: str = ""
    problem: Problem | None = None
