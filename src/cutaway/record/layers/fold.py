"""Identical sibling layers shown once.

Two layers are identical when they are equal up to node names and the layer's own number. What a node
refers to is compared by where it comes from, seen from its layer: the layer itself, its weights, the layer
before it, or elsewhere. The most common form stands for all; a layer that differs from it in up to a third of
its nodes joins it with a list of its differences, and one that differs in more stands on its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from cutaway.record.layers.nest import Difference, Fold, Item, Key, Layer
from cutaway.record.layers.rows import Graph, Path, Row
from cutaway.record.layers.runs import different_number, runs, split_numbers, with_tail
from cutaway.record.layers.words import spans

TOO_DIFFERENT = 1 / 3
"""A layer with more than this share of differing nodes is shown on its own."""


def fold_layers(items: Sequence[Item], graph: Graph, marked: frozenset[int] = frozenset()) -> list[Item]:
    """Replace identical sibling layers by one `Fold` each, in `items` and below.

    Args:
        items: the items of one layer, as `nest` made them; the layers among them are changed in place.
        graph: the graph they come from.
        marked: places of nodes with a difference attached: the layers around them must stay visible.

    Returns:
        The items with a `Fold` where its first member stood.
    """
    folded: list[Item] = []
    for members in runs(items, marked):
        candidates = [with_tail(*member) for member in members]
        for item in _Run(candidates, graph).items() if len(candidates) > 1 else candidates:
            if isinstance(item, Fold):
                places = [
                    item.shown.start + max(difference.offset, 0)
                    for differences in item.differences.values()
                    for difference in differences
                ]
                item.shown.items = fold_layers(item.shown.items, graph, marked.union(places))
                folded.append(item)
            else:
                folded += _alone(item, graph, marked)
    return folded


def _alone(item: Item, graph: Graph, marked: frozenset[int]) -> list[Item]:
    """An item that is not folded, with what was taken as its tail beside it again."""
    if not isinstance(item, Layer):
        return [item]
    tail: list[Item] = []
    if item.items and isinstance(item.items[-1], Layer) and item.items[-1].title:
        tail = item.items.pop().items  # pyright: ignore[reportAttributeAccessIssue]
        item.stop -= len(tail)
    item.items = fold_layers(item.items, graph, marked)
    return [item, *tail]


class _Run:
    """Neighbouring layers whose fqns differ in one integer, and what each of their nodes is.

    Args:
        items: the layers, two or more.
        graph: the graph they come from.
    """

    def __init__(self, items: Sequence[Item], graph: Graph) -> None:
        self.layers = [item for item in items if isinstance(item, Layer)]
        self.graph = graph
        split = [split_numbers(layer.fqn) for layer in self.layers]
        at = different_number(split[0], split[1]) or 0
        self.prefix, self.suffix = "".join(split[0][:at]), "".join(split[0][at + 1 :])
        self.numbers = [int(tokens[at]) for tokens in split]
        self._stem = re.sub(r"[^a-zA-Z]*$", "", self.prefix).rpartition(".")[2]
        self._weight = re.compile(rf"{re.escape(self.prefix)}(\d{{1,18}})(.*)", re.DOTALL)
        self._relative: dict[tuple[Path, str], Key] = {}
        self._member_at = [i for i, layer in enumerate(self.layers) for _ in range(layer.start, layer.stop)]
        self.ops = [tuple([self._op(row, layer) for row in self.rows(layer)]) for layer in self.layers]
        # What a layer takes from before it may come from anywhere unless it follows a layer of its own kind.
        self._loose = [i == 0 or ops != self.ops[i - 1] for i, ops in enumerate(self.ops)]
        self.keys = [tuple([self._key(row, i) for row in self.rows(layer)]) for i, layer in enumerate(self.layers)]

    def rows(self, layer: Layer) -> list[Row]:
        return self.graph.body[layer.start : layer.stop]

    def items(self) -> list[Item]:
        """A `Fold` for each form that several layers have, the other layers as they are."""
        left = list(range(len(self.layers)))
        items: dict[int, Item] = {}
        while left:
            members = self._alike([i for i in left if self.layers[i].cls == self.layers[left[0]].cls])
            left = [i for i in left if i not in members]
            first = min(members)
            items[first] = self._fold(members) if len(members) > 1 else self.layers[first]
        return [items[index] for index in sorted(items)]

    def _alike(self, indices: Sequence[int]) -> dict[int, tuple[dict[int, int], list[Difference]]]:
        """The layers like the most common of these, which comes first: their offsets and differences."""
        same_ops = _largest(indices, self.ops)
        group = _largest(sorted(same_ops, key=lambda index: self._loose[index]), self.keys)
        found: dict[int, tuple[dict[int, int], list[Difference]]] = {index: ({}, []) for index in group}
        aligned: dict[tuple[Key, ...], dict[int, int] | None] = {}
        for index in indices:
            if index in found:
                continue
            ops = self.ops[index]
            if ops not in aligned:
                aligned[ops] = _align(ops, self.ops[group[0]])
            offsets = aligned[ops]
            differences = None if offsets is None else self._differences(index, group[0], offsets)
            if offsets is not None and differences is not None:
                found[index] = (offsets, differences)
        return found

    def _fold(self, members: dict[int, tuple[dict[int, int], list[Difference]]]) -> Fold:
        shown = min(i for i, (_, differences) in members.items() if not differences)
        return Fold(
            self.layers[shown],
            {self.numbers[i]: self.layers[i] for i in sorted(members)},
            {self.numbers[i]: members[i][1] for i in sorted(members) if members[i][1]},
            {self.numbers[i]: offsets for i, (offsets, _) in members.items() if offsets},
            self.label,
        )

    def label(self, numbers: Iterable[int]) -> str:
        """The fqn of several members: `layers.0-35` (with an en dash), `layers.0,2-4`, `layers.0,2…34`."""
        return self.prefix + spans(sorted(numbers)) + self.suffix

    def _op(self, row: Row, layer: Layer) -> Key:
        """What a node does and where in its layer: enough to find its counterpart in another layer."""
        relative = self._relative.get((row.path, layer.fqn))
        if relative is None:
            depth = next((i for i, (fqn, _) in enumerate(row.path) if fqn == layer.fqn), -1)
            inner = [(fqn.removeprefix(layer.fqn), cls) for fqn, cls in row.path[depth + 1 :]]
            relative = self._relative[row.path, layer.fqn] = (*inner, depth < 0)
        return (relative, row.op, row.target, row.known)

    def _key(self, row: Row, index: int) -> Key:
        """The op, and all that makes the node what it is; equal for equal nodes of two layers."""
        text = row.text
        if self._stem and self._stem in text:
            number = self.numbers[index]
            text = re.sub(rf"(?<![a-zA-Z0-9])({self._stem}[._]){number}(?!\d)", r"\1#", text)
        origins = tuple([self._origin(self.graph.rows[ref], index) for ref in row.refs])
        return (text, row.type, row.provider, origins)

    def _origin(self, row: Row, index: int) -> Key:
        """Where a value comes from, seen from a layer of the run."""
        layer = self.layers[index]
        if row.place < 0:
            return self._input_origin(row, index)
        if layer.start <= row.place < layer.stop:
            return ("inside", row.place - layer.start)
        if self._loose[index]:
            return ("before", row.id)
        offset = row.place - self.layers[0].start
        if not 0 <= offset < len(self._member_at):
            return ("outside", row.id)
        sibling = self._member_at[offset]
        return ("sibling", index - sibling, row.place - self.layers[sibling].start)

    def _input_origin(self, row: Row, index: int) -> Key:
        layer = self.layers[index]
        if self._loose[index] and not row.weight:
            return ("before", row.id)
        if row.first_use < layer.start or row.last_use >= layer.stop:
            return ("outside", row.id)
        weight = self._weight.fullmatch(row.weight)
        if weight is None:
            return ("input", row.weight)
        return ("weight", int(weight[1]) - self.numbers[index], weight[2])

    def _differences(self, index: int, shown: int, offsets: dict[int, int]) -> list[Difference] | None:
        """How a layer differs from the shown one; None when in too many nodes."""
        rows, expected = self.rows(self.layers[index]), self.keys[shown]
        found: list[Difference] = []
        entries: dict[Key, Key] = {}
        after, order = -1, 0
        for offset, row in enumerate(rows):
            key = _mapped(self.keys[index][offset], offsets)
            counterpart = offsets.get(offset)
            if counterpart is None:
                found.append(Difference(after, row, key, extra=True, order=order))
                order += 1
                continue
            after, order = counterpart, 0
            same_op = self.ops[index][offset] == self.ops[shown][counterpart]
            if not same_op or not _same(expected[counterpart], key, entries):
                found.append(Difference(counterpart, row, key))
        present = set(offsets.values())
        found += [Difference(i, None, ()) for i in range(len(expected)) if i not in present]
        if len(found) > TOO_DIFFERENT * max(len(rows), len(expected)):
            return None
        return sorted(found, key=lambda difference: difference.offset)


def _largest(indices: Sequence[int], forms: Sequence[tuple[Key, ...]]) -> list[int]:
    """The largest group of indices with equal forms; of several, the one whose first index comes first."""
    groups: dict[tuple[Key, ...], list[int]] = {}
    for index in indices:
        groups.setdefault(forms[index], []).append(index)
    return max(groups.values(), key=len)


def _align(mine: tuple[Key, ...], shown: tuple[Key, ...]) -> dict[int, int] | None:
    """Offsets in one layer -> offsets in another, by op; None when too few ops are equal.

    Where other ops stand in the same place, they are counterparts too.
    """
    if mine == shown:
        return {offset: offset for offset in range(len(mine))}
    needed = (1 - TOO_DIFFERENT) * max(len(mine), len(shown))
    if (Counter(mine) & Counter(shown)).total() < needed:
        return None
    offsets: dict[int, int] = {}
    equal = 0
    for what, i, i_end, j, j_end in SequenceMatcher(None, mine, shown, autojunk=False).get_opcodes():
        equal += i_end - i if what == "equal" else 0
        offsets.update(zip(range(i, i_end), range(j, j_end), strict=False))
    return offsets if equal >= needed else None


def _mapped(key: Key, offsets: dict[int, int]) -> Key:
    """A node's key with offsets in its own kind of layer replaced by those of their counterparts."""
    *node, origins = key
    mapped = [
        (*origin[:-1], offsets.get(origin[-1], -1)) if origin[0] in ("inside", "sibling") else origin
        for origin in origins
    ]
    return (*node, tuple(mapped))


def _same(expected: Key, found: Key, entries: dict[Key, Key]) -> bool:
    """Whether two nodes are equal.

    Args:
        expected: the shown layer's node.
        found: the other layer's; what comes from "before" a loose layer need only be the same value
            wherever the shown layer has the same value.
        entries: what the values of the shown layer were found to be so far; added to.
    """
    if expected[:3] != found[:3] or len(expected[3]) != len(found[3]):
        return False
    for want, have in zip(expected[3], found[3], strict=True):
        if want == have:
            continue
        kinds = {want[0], have[0]}
        if "before" not in kinds or not kinds <= {"before", "sibling", "outside", "input"}:
            return False
        if "outside" in kinds and want[1] != have[1]:
            return False
        if kinds <= {"before", "sibling"} and entries.setdefault(want, have) != have:
            return False
    return True
