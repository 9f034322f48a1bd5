"""What the child that holds patterns against graphs is asked, and what it answers: plain JSON."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Graph(Struct):
    """A graph to look in.

    Attributes:
        selector: what the dump calls it.
        table: its node table.
        modules: those that register the operators in it, as its raw file imports them.
        ranges: the compile ranges in which a piece has it, such as `1_16`.
    """

    selector: str
    table: dict[str, Any]
    modules: list[str] = []
    ranges: list[str] = []


class Job(Struct):
    """Attributes:
    pattern: what to hold against the graphs: a name, or `module:object`, or `file.py:object`.
    graphs: where to look.
    vllm: the pass configuration of vLLM that the dump was made with; None when it was not vLLM.
    """

    pattern: str
    graphs: list[Graph]
    vllm: dict[str, Any] | None = None


class Reason(Struct):
    """Why a part of a pattern does not fit.

    Attributes:
        kind: `op`, `arguments`, `users`, `constant`, `dtype`, `shape`, `operand` (a name that stands for two values),
            `order` (operands the other way round), `check`, `mutation` or `other`.
        text: in words; nodes are named.
        node: the node of the graph that does not fit; None when there is none.
        wanted, found: what the pattern has and what the graph has, as far as it is one thing each.
        part: the operator of the pattern whose call it is about.
        place: `file:line` of the check that said no.
    """

    kind: str
    text: str
    node: str | None = None
    wanted: str = ""
    found: str = ""
    part: str = ""
    place: str = ""


class Attempt(Struct):
    """A pattern held against a graph at one node.

    Attributes:
        pattern: index into the patterns.
        graph: index into the graphs.
        node: where its last operator was looked for; for a pattern whose last operator is not there, the node of
            the largest part of it that is.
        matched: whether it fits there, and the pass would rewrite it.
        got, of: calls of the pattern that fit, of how many.
        nodes: the nodes that fit.
        reasons: what does not fit, the one at which the matcher stops first.
    """

    pattern: int
    graph: int
    node: str
    matched: bool
    got: int
    of: int
    nodes: list[str]
    reasons: list[Reason]


class Known(Struct):
    """A pattern.

    Attributes:
        name: what its owner calls it.
        calls: the operators that it is made of, the last first.
        text: all of it, as an expression.
    """

    name: str
    calls: list[str]
    text: str


class Ran(Struct):
    """A pass without patterns, run over a graph.

    Attributes:
        graph: index into the graphs.
        changed: whether it changed it.
        problem: what it raised.
    """

    graph: int
    changed: bool = False
    problem: str = ""


class Answer(Struct):
    """Attributes:
    names: by what else the passes that were asked for may be called in a recording.
    patterns: them.
    attempts: each pattern at each node where its last operator is, or a part of it.
    skipped: compile ranges for which the pass says that it does not apply.
    ran: for a pass without patterns, what it did.
    unknown: operators in the graphs that are not registered in the child.
    problem: why nothing could be done; then all else is empty.
    details: a traceback.
    """

    names: list[str] = []
    patterns: list[Known] = []
    attempts: list[Attempt] = []
    skipped: list[str] = []
    ran: list[Ran] = []
    unknown: list[str] = []
    problem: tuple[str, str, str] | None = None
    details: str = ""
