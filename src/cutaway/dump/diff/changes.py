"""How two nodes that are the same one differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.schema import Constant, Node, Output, Size

FACTS = ("dtype", "shape", "stride", "offset", "device", "value")
"""What a node's value is; sizes are compared as they are written in the other graph."""


@dataclass(frozen=True)
class Change:
    """One thing in which a node differs before and after.

    Attributes:
        before, after: the node's id in each graph.
        what: `target` (the operator has another name at this stage: `torch.mul`, `aten.mul.Tensor`), `args` (other
            constants, or it reads other nodes that were there before), `dtype`, `shape`, `stride`, `offset`, `device`,
            `value`, `constant`, `graph` (the one inside this one), `provider`, or `order` (it runs before a write that
            it ran after, or the other way round).
        old, new: as in the node table; None for `args` and `order`, which need the graph to be written.
    """

    before: int
    after: int
    what: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True)
class Use:
    """A node that stayed reads another value than before, because of nodes that are gone or new.

    Attributes:
        user: place of the node before.
        old, new: places of what it read and of what it reads.
    """

    user: int
    old: int
    new: int


Providers = tuple[Mapping[str, str], Mapping[str, str]]
"""Node name -> who implements it, of the graph before and of the graph after."""


class Comparison:
    """The nodes of two graphs that are paired, one by one.

    Args:
        pairing: which node is which.
        providers: node name -> who implements it, before and after, over those in the tables.

    Attributes:
        changes: by place of the node before, what differs.
        uses: where what a node reads was replaced.
    """

    def __init__(self, pairing: Pairing, providers: Providers = ({}, {})) -> None:
        self.pairing = pairing
        self.providers = providers
        self.here, self.there = pairing.here, pairing.there
        self.changes: dict[int, list[Change]] = {}
        self.uses: list[Use] = []
        for left in sorted(pairing.of_before):
            changes = list(self._changes(left, pairing.of_before[left]))
            if changes:
                self.changes[left] = changes
        for left in self._moved_inputs() if not pairing.cut else ():
            self.changes.setdefault(left, []).append(self._change(left, pairing.of_before[left], "order"))

    def _moved_inputs(self) -> list[int]:
        nodes = self.pairing.before.nodes
        pairs = [pair for pair in self.pairing.of_before.items() if nodes[pair[0]].op == "placeholder"]
        if not self.pairing.flipped:
            return _out_of_order(sorted(pairs))
        moved = _out_of_order(sorted((right, left) for left, right in pairs))
        return sorted(self.pairing.of_after[right] for right in moved)

    def _changes(self, left: int, right: int) -> Iterator[Change]:
        terms = self.pairing.before, self.pairing.after
        old, new = terms[0].nodes[left], terms[1].nodes[right]
        if old.op.startswith("call_") and (old.op, old.target) != (new.op, new.target):
            yield self._change(left, right, "target", old.target, new.target)
        same = terms[0].constants[left] == terms[1].constants[right]
        if self._reads_other(left, right) or not same:
            yield self._change(left, right, "args")
        elif self._is_moved(left, right):
            yield self._change(left, right, "order")
        if old.op == "get_attr" and terms[0].label[left] != terms[1].label[right] and not self._is_constant(old, new):
            yield self._change(left, right, "graph")
        yield from (self._change(left, right, *fact) for fact in self._facts(old, new))
        if old.constant is not None and new.constant is not None and self._differs(old.constant, new.constant):
            yield self._change(left, right, "constant", old.constant, new.constant)
        one, other = self.providers[0].get(old.name, old.provider), self.providers[1].get(new.name, new.provider)
        if one and other and one != other:
            yield self._change(left, right, "provider", one, other)

    def _change(self, left: int, right: int, what: str, old: Any = None, new: Any = None) -> Change:
        return Change(self.pairing.before.nodes[left].id, self.pairing.after.nodes[right].id, what, old, new)

    @staticmethod
    def _is_constant(old: Node, new: Node) -> bool:
        return old.op == new.op == "get_attr" and old.constant is not None and new.constant is not None

    def _reads_other(self, left: int, right: int) -> bool:
        """Whether it reads other nodes, leaving out those that are gone and new: these are noted as uses."""
        refs, others = self.pairing.before.refs[left], self.pairing.after.refs[right]
        if len(refs) != len(others):
            return True
        differs = False
        for ref, other in zip(refs, others, strict=True):
            found = self.pairing.of_before.get(ref)
            if found == other:
                continue
            if found is None or other not in self.pairing.of_after:
                self.uses.append(Use(left, ref, other))
            else:
                differs = True
        return differs

    def _is_moved(self, left: int, right: int) -> bool:
        """Whether other writes come before it, all of which are in both graphs."""
        writes, others = self.pairing.before.writes[left], self.pairing.after.writes[right]
        if not writes and not others:
            return False
        found = [self.pairing.of_before.get(write) for write in writes]
        if None in found or any(other not in self.pairing.of_after for other in others):
            return False
        return set(found) != set(others)

    def _facts(self, old: Node | Output, new: Node | Output) -> Iterator[tuple[str, Any, Any]]:
        for what in FACTS:
            one, other = getattr(old, what, None), getattr(new, what, None)
            if one != other and one is not None and other is not None and self._sizes(one, other):
                yield what, one, other
        if old.outputs and new.outputs:
            if len(old.outputs) != len(new.outputs):
                yield "shape", [each.shape for each in old.outputs], [each.shape for each in new.outputs]
            else:
                found: dict[str, tuple[list[Any], list[Any]]] = {}
                for one, other in zip(old.outputs, new.outputs, strict=True):
                    for what, left, right in self._facts(one, other):
                        found.setdefault(what, ([], []))[0].append(left)
                        found[what][1].append(right)
                yield from ((what, *values) for what, values in found.items())

    def _sizes(self, one: Size | list[Size], other: Size | list[Size]) -> bool:
        """Whether two facts differ once each is written in the terms of the other graph."""
        left, right = (each if isinstance(each, list) else [each] for each in (one, other))
        return [self.here.of(size) for size in left] != [self.there.of(size) for size in right]

    def _differs(self, one: Constant, other: Constant) -> bool:
        pairs = [(getattr(one, what), getattr(other, what)) for what in ("digest", "repr", "dtype", "device")]
        facts = any(left != right and None not in (left, right) for left, right in pairs)
        return facts or (one.shape is not None and other.shape is not None and self._sizes(one.shape, other.shape))


def _out_of_order(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The fewest inputs that must have moved for the others to be in order (patience: longest rising row)."""
    if all(one[1] < other[1] for one, other in pairwise(pairs)):
        return []
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for number, (_, right) in enumerate(pairs):
        low, high = 0, len(tops)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if tops[middle] < right else (low, middle)
        before.append(ends[low - 1] if low else -1)
        tops[low:] = [right, *tops[low + 1 :]]
        ends[low:] = [number, *ends[low + 1 :]]
    kept: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        kept.add(at)
        at = before[at]
    return [left for number, (left, _) in enumerate(pairs) if number not in kept]
