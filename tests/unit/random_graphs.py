"""Random graphs, and random rewrites of which it is known what they do."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import msgspec

from cutaway.dump.schema import NodeTable

OPS = ("aten.add.Tensor", "aten.mul.Tensor", "aten.relu.default", "vllm_ir.rms_norm.default", "aten.cat.default")


@dataclass(frozen=True)
class N:
    """A node: `uid` says which node it is whatever becomes of it, `refs` are uids."""

    uid: int
    op: str
    refs: tuple[int, ...] = ()
    constant: Any = None
    layer: str | None = None
    dtype: str = "float32"


@dataclass
class Expected:
    """What a rewrite did, by uid."""

    gone: set[int] = field(default_factory=set)
    new: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    origins: dict[int, set[int]] = field(default_factory=dict)


class Graphs:
    """Makes graphs and rewrites them.

    Args:
        source: of all that is random.
        distinct: every node has a constant of its own, so that there is only one way to tell the nodes.
        layers: how many layers the nodes are spread over; 0: no node has one.
    """

    def __init__(self, source: random.Random, distinct: bool = False, layers: int = 3) -> None:
        self.random = source
        self.distinct = distinct
        self.layers = layers
        self.uids = count()

    def make(self, size: int, inputs: int = 3, results: int = 2) -> list[N]:
        """A graph: inputs, `size` calls, each of which reads what came before it, and the output."""
        nodes = [N(next(self.uids), "input") for _ in range(inputs)]
        for number in range(size):
            recent = nodes[-6:] if self.random.random() < 0.8 else nodes
            refs = [self.random.choice(recent).uid for _ in range(self.random.choice((1, 1, 2)))]
            layer = f"layers.{number * self.layers // size}" if self.layers else None
            nodes.append(self.call(self.random.choice(OPS), refs, layer))
        ends = [self.random.choice(nodes[inputs:] or nodes).uid for _ in range(results - 1)]
        return [*nodes, N(next(self.uids), "output", (nodes[-1].uid, *ends))]

    def call(self, op: str, refs: Iterable[int], layer: str | None) -> N:
        uid = next(self.uids)
        constant = uid if self.distinct else self.random.choice((1, 2))
        return N(uid, op, tuple(refs), constant, layer)

    def rewrite(self, nodes: Sequence[N], kind: str, apart: Iterable[int] = ()) -> tuple[list[N], Expected]:
        """One random rewrite; nothing is done when there is no node for it.

        Args:
            nodes: the graph.
            kind: insert, delete, replace, fuse or change.
            apart: uids of nodes to leave alone.
        """
        left = set(apart)
        calls = [node for node in nodes if node.op not in ("input", "output") and node.uid not in left]
        if not calls:
            return list(nodes), Expected()
        return getattr(self, f"_{kind}")(list(nodes), self.random.choice(calls), left)

    def _insert(self, nodes: list[N], node: N, _: set[int]) -> tuple[list[N], Expected]:
        new = self.call("aten.sigmoid.default", [node.uid], node.layer)
        users = [other.uid for other in nodes if node.uid in other.refs]
        if not users:
            return nodes, Expected()
        some = set(self.random.sample(users, self.random.randint(1, len(users))))
        nodes = [_reading(other, {node.uid: new.uid}) if other.uid in some else other for other in nodes]
        nodes.insert([other.uid for other in nodes].index(node.uid) + 1, new)
        return nodes, Expected(new={new.uid})

    def _delete(self, nodes: list[N], node: N, _: set[int]) -> tuple[list[N], Expected]:
        kept = [_reading(other, {node.uid: node.refs[0]}) for other in nodes if other.uid != node.uid]
        return kept, Expected(gone={node.uid})

    def _replace(self, nodes: list[N], node: N, _: set[int]) -> tuple[list[N], Expected]:
        first = self.call("aten.pow.Tensor_Scalar", node.refs, node.layer)
        last = self.call("aten.rsqrt.default", [first.uid, node.refs[0]], node.layer)
        at = nodes.index(node)
        nodes[at : at + 1] = [first, last]
        nodes = [_reading(other, {node.uid: last.uid}) for other in nodes]
        new = {first.uid, last.uid}
        return nodes, Expected({node.uid}, new, origins={uid: {node.uid} for uid in new})

    def _fuse(self, nodes: list[N], node: N, left: set[int]) -> tuple[list[N], Expected]:
        """A node and one that only it reads become one."""
        known = {other.uid: other for other in nodes}
        alone = [
            known[ref]
            for ref in node.refs
            if known[ref].op != "input" and ref not in left and sum(ref in other.refs for other in nodes) == 1
        ]
        if not alone:
            return nodes, Expected()
        inner = alone[0]
        fused = self.call("vllm_ir.fused.default", [*inner.refs, *(r for r in node.refs if r != inner.uid)], node.layer)
        at = nodes.index(node)
        nodes[at] = fused
        nodes.remove(inner)
        nodes = [_reading(other, {node.uid: fused.uid}) for other in nodes]
        gone = {node.uid, inner.uid}
        return nodes, Expected(gone, {fused.uid}, origins={fused.uid: gone})

    def _change(self, nodes: list[N], node: N, _: set[int]) -> tuple[list[N], Expected]:
        constant = (node.constant, "other")
        nodes[nodes.index(node)] = replace(node, constant=list(constant))
        return nodes, Expected(changed={node.uid})

    def reorder(self, nodes: Sequence[N]) -> list[N]:
        """Another order in which every node still comes after what it reads; inputs keep theirs."""
        waiting = [node for node in nodes if node.op not in ("input", "output")]
        done = [node for node in nodes if node.op == "input"]
        seen = {node.uid for node in done}
        while waiting:
            ready = [node for node in waiting if seen.issuperset(node.refs)]
            node = self.random.choice(ready)
            waiting.remove(node)
            seen.add(node.uid)
            done.append(node)
        return [*done, *(node for node in nodes if node.op == "output")]


def _reading(node: N, instead: dict[int, int]) -> N:
    return replace(node, refs=tuple(instead.get(ref, ref) for ref in node.refs))


def near(nodes: Sequence[N], uids: Iterable[int]) -> set[int]:
    """These nodes, what they read and who reads them."""
    found = set(uids)
    by_uid = {node.uid: node for node in nodes}
    found |= {ref for uid in uids if uid in by_uid for ref in by_uid[uid].refs}
    return found | {node.uid for node in nodes if found.intersection(node.refs)}


def table(nodes: Sequence[N], names: random.Random | None = None, layers: bool = True, **origins: Any) -> NodeTable:
    """A graph as a node table.

    Args:
        nodes: the graph.
        names: random names instead of those that follow from the uids.
        layers: whether the nodes' layers are known.
        origins: `before` and `stems`: the graph before, and uid -> uids there that a node stems from.
    """
    ids = {node.uid: index for index, node in enumerate(nodes)}
    paths = list(dict.fromkeys(node.layer for node in nodes if node.layer)) if layers else []
    before = {node.uid: index for index, node in enumerate(origins.get("before", ()))}
    rows: list[dict[str, Any]] = []
    for index, node in enumerate(nodes):
        name = f"n{names.randrange(10**9)}_{index}" if names else f"n{node.uid}"
        row: dict[str, Any] = {"id": index, "name": name, "op": "call_function", "target": node.op}
        row |= {"dtype": node.dtype, "shape": ["s0", 8], "stride": [8, 1], "device": "cpu"}
        row["args"] = [*({"node": ids[ref]} for ref in node.refs), node.constant]
        if node.op == "input":
            row |= {"op": "placeholder", "target": name, "args": [], "input": name}
        elif node.op == "output":
            row |= {"op": "output", "target": "output", "args": [{"tuple": row["args"][:-1]}]}
        if node.layer and layers:
            row["layer"] = paths.index(node.layer)
        if before:
            some = origins["stems"].get(node.uid, {node.uid})
            row["from"] = sorted(before[uid] for uid in some if uid in before)
        rows.append(row)
    symbol = f"s{names.randrange(10**6)}" if names else "s0"
    text = msgspec.json.encode(rows).decode().replace('"s0"', f'"{symbol}"')
    plain = {
        "symbols": {symbol: {"min": 2, "max": 4096, "hint": 17}},
        "layers": [["Model", f"{path}: Layer"] for path in paths],
        "nodes": msgspec.json.decode(text),
    }
    return msgspec.convert(plain, NodeTable)
