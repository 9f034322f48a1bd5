"""A node table as what its nodes do: each node an operator with its constants, and what it reads.

Names play no part here. Two nodes have the same label when they apply the same operator with the same constants;
labels are small integers that the two graphs of a comparison share.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from cutaway.dump.diff.memory import last_writes
from cutaway.dump.diff.sizes import Sizes
from cutaway.dump.schema import Node, NodeTable
from cutaway.record.layers.words import short_name

HOLE = ("node",)
"""Stands in a skeleton for a reference to a node."""


class Labels:
    """Numbers for keys: equal keys get the same number. One for all graphs of a comparison."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int:
        return self._known.setdefault(key, len(self._known))


class Terms:
    """One graph of a comparison. Nodes are counted by their place in the table.

    Args:
        table: the graph.
        labels: shared with the other graph.
        sizes: how its sizes are written.

    Attributes:
        label: operator and constants of each node; of an input its dtype and number of dimensions.
        kind: the operator alone.
        constants: arguments of each node with holes for references.
        refs: what each node reads, in the order of its arguments.
        writes: the last nodes before each one that may have written into what it reads.
        users: who reads each node, as (user, which of its references).
        place: layer and line of Python of each node; -1 when neither is known.
    """

    def __init__(self, table: NodeTable, labels: Labels, sizes: Sizes) -> None:
        self.table = table
        self.nodes = table.nodes
        self.labels = labels
        self.index = {node.id: index for index, node in enumerate(table.nodes)}
        self.refs: list[list[int]] = []
        self.label: list[int] = []
        self.kind: list[int] = []
        self.constants: list[Hashable] = []
        graphs = {name: _inner(graph, labels, sizes) for name, graph in table.graphs.items()}
        numbers = _numbers(table, sizes)
        for node in table.nodes:
            found: list[int] = []
            skeleton = Skeleton(found, sizes, graphs, numbers)
            parts = (skeleton.of(node.args), skeleton.of(_sorted(node.kwargs)))
            self.refs.append([self.index[ref] for ref in found])
            target = _target(node, graphs)
            self.kind.append(labels.of(("kind", _kind(node))))
            self.label.append(labels.of((node.op, target, parts)))
            self.constants.append(parts)
        self.users: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for user, refs in enumerate(self.refs):
            for position, ref in enumerate(refs):
                self.users[ref].append((user, position))
        self.writes = last_writes(self.nodes, self.refs, self.users)
        self.place = [self._place(node) for node in self.nodes]

    def __len__(self) -> int:
        return len(self.nodes)

    def is_leaf(self, index: int) -> bool:
        """Whether a node is an input, or a tensor of which the table does not know the values."""
        node = self.nodes[index]
        held = node.constant
        return node.op == "placeholder" or (node.op == "get_attr" and held is not None and held.digest is None)

    def _place(self, node: Node) -> int:
        if node.layer is None and node.source is None:
            return -1
        source = self.table.source(node)
        where = None if source is None else (source.function, source.code or source.line)
        return self.labels.of(("place", self.table.layer(node), where))


def _numbers(table: NodeTable, sizes: Sizes) -> dict[int, int]:
    """Ids of symbolic sizes -> numbers, where the other graph was compiled for a single size."""
    found = {node.id: sizes.of(node.value) for node in table.nodes if isinstance(node.value, str)}
    return {id_: number for id_, number in found.items() if isinstance(number, int)}


def _target(node: Node, graphs: Mapping[str, int]) -> Hashable:
    """What a node calls or holds; names of inputs and attributes do not count."""
    if node.op == "output":
        return None
    if node.op == "placeholder":
        return None if node.shape is None else (node.dtype, len(node.shape))  # a size may be a number elsewhere
    if node.op != "get_attr":
        return node.target
    if node.target in graphs:
        return graphs[node.target]
    held = node.constant
    return None if held is None else (held.digest, held.repr)


def _kind(node: Node) -> Hashable:
    """What a node does, whatever the operator is called at this stage: `torch.mul` and `aten.mul.Tensor` are one."""
    if not node.op.startswith("call_"):
        return (node.op, _target(node, {}) if node.op == "placeholder" else None)
    return ("call", short_name(node.target) if node.op == "call_function" else node.target)


def _sorted(kwargs: Mapping[str, Any]) -> list[Any]:
    return [[key, kwargs[key]] for key in sorted(kwargs)]


class Skeleton:
    """Arguments as something that can be hashed, with a hole for each reference.

    Args:
        refs: gets the ids of the nodes referred to, in order.
        sizes: how sizes are written.
        graphs: attribute name -> what the graph inside does.
        numbers: id of a node that is a size -> the number that it is in the other graph.
    """

    def __init__(self, refs: list[int], sizes: Sizes, graphs: Mapping[str, int], numbers: Mapping[int, int]) -> None:
        self.refs = refs
        self.sizes = sizes
        self.graphs = graphs
        self.numbers = numbers

    def of(self, value: Any) -> Hashable:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (bool, float)):  # True, 1 and 1.0 are equal in Python
            return (type(value).__name__, repr(value))
        if isinstance(value, int):
            return value
        if isinstance(value, list):
            return ("list", *[self.of(each) for each in value])
        return self._tagged(value)

    def _tagged(self, value: dict[str, Any]) -> Hashable:
        [(tag, inner)] = value.items()
        if tag == "node":
            if inner in self.numbers:
                return self.numbers[inner]
            self.refs.append(inner)
            return HOLE
        if tag == "sym":
            size = self.sizes.of(inner)
            return size if isinstance(size, int) else ("sym", size)
        if tag == "graph":
            return ("graph", self.graphs.get(inner, inner))
        return (tag, self.of(inner))


def _inner(table: NodeTable, labels: Labels, sizes: Sizes) -> int:
    """What a graph inside another does, as one label: the same for graphs equal up to names and harmless order."""
    terms = Terms(table, labels, sizes)
    leaves = {index: labels.of(("inner input", number)) for number, index in enumerate(_leaves(terms))}
    return labels.of(("graph", *sorted(bottom_up(terms, leaves))))


def _leaves(terms: Terms) -> list[int]:
    return [index for index in range(len(terms)) if terms.is_leaf(index)]


def bottom_up(terms: Terms, leaves: Mapping[int, int]) -> list[int]:
    """For each node, a number for all that it is computed from; equal for equal computations.

    Args:
        terms: the graph.
        leaves: numbers of inputs and constants that were told apart already.
    """
    found: list[int] = []
    for index, label in enumerate(terms.label):
        known = leaves.get(index)
        if known is None:
            refs = tuple([found[ref] for ref in terms.refs[index]])
            writes = tuple(sorted([found[write] for write in terms.writes[index]]))
            known = terms.labels.of(("up", label, refs, writes))
        found.append(known)
    return found


def top_down(terms: Terms) -> list[int]:
    """For each node, a number for all that is made of it; equal where everything downstream is equal."""
    found = [0] * len(terms)
    for index in range(len(terms) - 1, -1, -1):
        users = tuple(sorted([(found[user], position) for user, position in terms.users[index]]))
        found[index] = terms.labels.of(("down", terms.label[index], users))
    return found


def around(terms: Terms, colours: list[int]) -> list[int]:
    """One round of colour refinement (Weisfeiler and Leman 1968): each node with what it reads and who reads it."""
    found: list[int] = []
    for index, colour in enumerate(colours):
        refs = tuple([colours[ref] for ref in terms.refs[index]])
        users = tuple(sorted([(colours[user], position) for user, position in terms.users[index]]))
        found.append(terms.labels.of(("around", colour, refs, users)))
    return found


def without_numbers(text: str) -> str:
    """A name without its numbers."""
    return re.sub(r"\d+", "#", text)
