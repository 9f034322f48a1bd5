"""What was found inside of a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cutaway.dump.schema import Node, NodeTable
from cutaway.replay.subject import NodeRef

Kind = Literal[
    "numbers",
    "overwritten",
    "arguments",
    "nan",
    "stale artifact",
    "other graph",
    "crash",
    "announced",
    "slow",
    "unknown",
]
"""A piece computes something else than its eager graph; it overwrites what is read later; it is passed something else
than the split graph says; NaN is made of numbers; the cache gave another artifact than is compiled now; the graph
itself is another one than the model's; the process crashed; an operator returned something else than its fake
implementation announced; it is slow; nothing of that."""

Confidence = Literal["confirmed", "likely", "unknown"]
"""Without it the fault goes; it was seen, and not confirmed by a trial without it; nothing is known."""


@dataclass(frozen=True)
class Finding:
    """What is known of a fault; None where that is not known.

    Attributes:
        part: the rung of the ladder at which the fault goes.
        kind: what is wrong.
        piece, range: where, as dumps have them.
        stage: the first graph that computes something else, as a selector.
        pass_name: the pass that made it (or is slow, or crashes).
        node: of that graph; `code` is its line.
        layer: "fqn: class" of it.
        source: file:line of the model's Python, with the line.
        op, provider: the operator of the IR, and the implementation that it was given; of "announced", the operator.
        kernel: Inductor's.
        factor: of a stale artifact, the variable or file that its key may lack, where there is but one.
        confidence: how sure that is.
        evidence: what was seen, one sentence each.
        others: further pieces with the same fault.
        unknown: what could not be found out, and why.
        reproducer: a file that shows the fault.
    """

    part: str
    kind: Kind = "unknown"
    piece: str | None = None
    range: str | None = None
    stage: str | None = None
    pass_name: str | None = None
    node: str | None = None
    code: str | None = None
    layer: str | None = None
    source: str | None = None
    op: str | None = None
    provider: str | None = None
    kernel: str | None = None
    factor: str | None = None
    confidence: Confidence = "unknown"
    evidence: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reproducer: Path | None = None

    @classmethod
    def of_call(cls, part: str, kind: Kind, event: Mapping[str, Any], *evidence: str, **facts: Any) -> Finding:
        """What the hands told of a call of a piece: seen, and not confirmed yet.

        Args:
            part: the rung of the ladder at which the fault goes.
            kind: what is wrong.
            event: what they told.
            evidence: what was seen, one sentence each.
            facts: further fields.
        """
        piece, span = event["piece"] or None, event.get("range") or None
        return cls(part, kind, piece, span, confidence="likely", evidence=evidence, **facts)

    def with_evidence(self, *sentences: str) -> Finding:
        """The same, with more to show for it."""
        return replace(self, evidence=(*self.evidence, *sentences))

    def without(self, *sentences: str) -> Finding:
        """The same, with more that is not known."""
        return replace(self, unknown=(*self.unknown, *sentences))

    def at_node(self, node: NodeRef | None) -> Finding:
        """The same, at a node."""
        if node is None:
            return self
        return replace(self, node=node.name, code=node.line or None, layer=node.layer, source=source_of(node))

    def at_table(self, table: NodeTable, node: Node) -> Finding:
        """The same, at a node of a graph that was recorded."""
        path = table.layer(node)
        line = f"{node.name} = {node.target}"
        return self.at_node(NodeRef(node.name, line, "", path[-1] if path else None, table.source(node)))

    @property
    def place(self) -> str:
        """The piece in its range, in a word or two."""
        if self.piece is None:
            return ""
        return f"{self.piece}/range_{self.range}" if self.range else self.piece

    def sentence(self) -> str:
        """What is at fault, in one sentence."""
        where = [
            f"the pass {self.pass_name}" if self.pass_name else "",
            f"the kernel {self.kernel}" if self.kernel else "",
            f"the provider {self.provider} of {self.op}" if self.provider else "",
            f"at {self.node}" if self.node else "",
            f"of layer {self.layer}" if self.layer else "",
            f"in {self.place}" if self.piece else "",
            f"({self.source})" if self.source else "",
        ]
        told = " ".join(filter(None, where))
        return f"{_WORDS[self.kind]}: {told}" if told else _WORDS[self.kind]

    def plain(self) -> dict[str, Any]:
        """As JSON values, every field by its name."""
        found = dict(vars(self))
        found["reproducer"] = str(self.reproducer) if self.reproducer is not None else None
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


_WORDS: dict[Kind, str] = {
    "numbers": "what is compiled computes something else than its eager graph",
    "overwritten": "a value is overwritten that is read later",
    "arguments": "a piece is passed another value than the split graph says",
    "nan": "NaN is made of numbers",
    "stale artifact": "the cache gave an artifact that is not what is compiled now",
    "other graph": "every piece computes what its graph says, so that the graph is not the model's",
    "crash": "the process crashed",
    "announced": "an operator returns something else than its fake implementation announces",
    "slow": "most of the time goes here",
    "unknown": "the place of the fault was not found",
}


def source_of(node: NodeRef) -> str | None:
    """``file:line  code`` of a node; None when it is unknown."""
    if node.source is None:
        return None
    code = f"  {node.source.code}" if node.source.code else ""
    return f"{node.source.file}:{node.source.line}{code}"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    shown = list(names)
    return ", ".join(shown[:-1]) + (" and " if len(shown) > 1 else "") + shown[-1] if shown else "nobody"
