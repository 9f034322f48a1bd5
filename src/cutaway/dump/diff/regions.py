"""Nodes that are gone and nodes that are new, put together: each group of nodes that was replaced by another group.

Where it is recorded which nodes a new node stems from, these belong together. Otherwise gone nodes that feed each
other do, and new ones, and those that stand in the same place of a node that stayed. A group whose gone and new
nodes lie in the same layers falls apart into one group a layer (and line of Python): a pass that replaces every
norm of a model makes them one group where each feeds the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cutaway.dump.diff.changes import Use
from cutaway.dump.diff.groups import Groups
from cutaway.dump.diff.pairing import Pairing
from cutaway.record.layers.words import block


@dataclass
class Region:
    """Nodes that were replaced, inserted or deleted together.

    Attributes:
        gone, new: places in the table before and after, in order.
        uses: who reads another value because of it.
    """

    gone: list[int] = field(default_factory=list[int])
    new: list[int] = field(default_factory=list[int])
    uses: list[Use] = field(default_factory=list[Use])


Item = tuple[int, int]
"""A node: 0 and its place for one that is gone, 1 and its place for one that is new."""


def regions(pairing: Pairing, uses: Sequence[Use]) -> list[Region]:
    """The regions of two graphs, in the order of the graph before.

    Args:
        pairing: which node is which.
        uses: where what a node reads was replaced.
    """
    gone, new = pairing.left(), pairing.right()
    items: list[Item] = [*((0, index) for index in gone), *((1, index) for index in new)]
    groups = Groups(items)
    for left, right in pairing.kin:
        if (0, left) in groups and (1, right) in groups:
            groups.join((0, left), (1, right))
    recorded = {item for members in groups.members() if _is_whole(members) for item in members}
    edges = _edges(pairing, gone, 0) + _edges(pairing, new, 1)
    inputs = _inputs(pairing, items)
    for one, other in edges:
        if {one, other}.isdisjoint(recorded) and {one, other}.isdisjoint(inputs):
            groups.join(one, other)
    for use in uses:
        one, other = (0, use.old), (1, use.new)
        if one in groups and other in groups and not (one in recorded and other in recorded):
            groups.join(one, other)
    for one, other in _sinks(pairing, groups, uses):
        groups.join(one, other)
    alone = [members[0] for members in groups.members() if inputs.issuperset(members) and not _is_whole(members)]
    for one, other in pairwise(sorted(alone)):
        if one[0] == other[0]:
            groups.join(one, other)
    found = [part for members in groups.members() for part in _parted(members, pairing, edges, uses)]
    return _sorted(found, pairing, uses)


def _inputs(pairing: Pairing, items: Iterable[Item]) -> set[Item]:
    """The inputs among these: what reads the same input need not have to do with each other."""
    nodes = pairing.before.nodes, pairing.after.nodes
    return {item for item in items if nodes[item[0]][item[1]].op == "placeholder"}


def _sinks(pairing: Pairing, groups: Groups[Item], uses: Sequence[Use]) -> Iterator[tuple[Item, Item]]:
    """Groups that nobody reads (they write into what they are given) and that read the same: one replaced the other."""
    read = {groups.root((0, use.old)) for use in uses if (0, use.old) in groups}
    read |= {groups.root((1, use.new)) for use in uses if (1, use.new) in groups}
    waiting: dict[frozenset[int], list[Item]] = {}
    found: list[tuple[frozenset[int], Item]] = []
    for members in groups.members():
        item = members[0]
        if groups.root(item) in read or _is_whole(members):
            continue
        terms = (pairing.before, pairing.after)[item[0]]
        refs = [ref for _, index in members for ref in terms.refs[index]]
        known = [ref if item[0] == 0 else pairing.of_after.get(ref) for ref in refs]
        values = frozenset(ref for ref in known if ref is not None and ref in pairing.of_before)
        if item[0] == 0:
            waiting.setdefault(values, []).append(item)
        else:
            found.append((values, item))
    yield from ((one, item) for values, item in found if values for one in waiting.get(values, ()))


def _edges(pairing: Pairing, indices: Sequence[int], side: int) -> list[tuple[Item, Item]]:
    terms = (pairing.before, pairing.after)[side]
    there = set(indices)
    return [((side, index), (side, ref)) for index in indices for ref in terms.refs[index] if ref in there]


def _parted(
    members: list[Item], pairing: Pairing, edges: Sequence[tuple[Item, Item]], uses: Sequence[Use]
) -> list[list[Item]]:
    """A group by layer and line, or by layer, as far as the parts have nodes that are gone and nodes that are new.

    What is only gone or only new is parted by the blocks of the model: a model with more layers has more of them.
    """
    if not _is_whole(members):
        return _by(members, _block(pairing))
    if len(members) < 4:
        return [members]
    parts = _by(members, _layer_and_line(pairing))
    if len(parts) == 1 or not all(map(_is_whole, parts)):
        parts = _joined(_by(members, _layer(pairing)), edges, uses)
    if len(parts) == 1:
        return [members]
    return [smaller for part in parts for smaller in _connected(part, edges, uses)]


def _is_whole(part: Iterable[Item]) -> bool:
    return len({side for side, _ in part}) == 2


def _by(members: Sequence[Item], key: Callable[[Item], tuple[str, ...]]) -> list[list[Item]]:
    """The members with the same key together, in the order of the keys."""
    parts: dict[tuple[str, ...], list[Item]] = {}
    for item in members:
        parts.setdefault(key(item), []).append(item)
    return [parts[name] for name in sorted(parts)]


def _joined(parts: list[list[Item]], edges: Sequence[tuple[Item, Item]], uses: Sequence[Use]) -> list[list[Item]]:
    """Parts with what feeds them, or is fed by them, and is only gone or only new by itself."""
    of = {item: number for number, part in enumerate(parts) for item in part}
    near: dict[int, set[int]] = {}
    for one, other in [*edges, *(((0, use.old), (1, use.new)) for use in uses)]:
        if one in of and other in of and of[one] != of[other]:
            near.setdefault(of[one], set()).add(of[other])
            near.setdefault(of[other], set()).add(of[one])
    whole = {number for number, part in enumerate(parts) if _is_whole(part)}
    if not whole:
        return [[item for part in parts for item in part]]
    found = {number: list(parts[number]) for number in sorted(whole)}
    for number, part in enumerate(parts):
        if number not in whole:
            beside = near.get(number, set()) & whole
            found[min(beside or whole)] += part
    return list(found.values())


def _layer(pairing: Pairing) -> Callable[[Item], tuple[str, ...]]:
    tables = pairing.before.table, pairing.after.table
    return lambda item: tables[item[0]].layer(tables[item[0]].nodes[item[1]])


def _block(pairing: Pairing) -> Callable[[Item], tuple[str, ...]]:
    layer = _layer(pairing)
    return lambda item: tuple(block(part.rpartition(": ")[0]) for part in layer(item)[-1:])


def _layer_and_line(pairing: Pairing) -> Callable[[Item], tuple[str, ...]]:
    tables = pairing.before.table, pairing.after.table

    def key(item: Item) -> tuple[str, ...]:
        table = tables[item[0]]
        node = table.nodes[item[1]]
        source = table.source(node)
        return (*table.layer(node), *(() if source is None else (source.file, str(source.line))))

    return key


def _connected(part: list[Item], edges: Sequence[tuple[Item, Item]], uses: Sequence[Use]) -> list[list[Item]]:
    """What hangs together within one layer, when each such group has nodes that are gone and nodes that are new."""
    groups = Groups(part)
    pairs = [*edges, *(((0, use.old), (1, use.new)) for use in uses)]
    for one, other in pairs:
        if one in groups and other in groups:
            groups.join(one, other)
    parts = list(groups.members())
    return parts if all(map(_is_whole, parts)) else [part]


def _sorted(parts: Sequence[Sequence[Item]], pairing: Pairing, uses: Sequence[Use]) -> list[Region]:
    found: list[Region] = []
    of: dict[Item, Region] = {}
    for part in parts:
        region = Region(
            sorted(index for side, index in part if side == 0), sorted(index for side, index in part if side == 1)
        )
        of.update(dict.fromkeys(part, region))
        found.append(region)
    for use in uses:
        region = of.get((0, use.old)) or of.get((1, use.new))
        if region is not None:
            region.uses.append(use)
    return sorted(found, key=lambda region: _where(region, pairing))


def _where(region: Region, pairing: Pairing) -> tuple[int, int]:
    """The place of a region in the graph before: of its first node, or of what its first new node reads."""
    if region.gone:
        return region.gone[0], region.new[0] if region.new else -1
    read = [pairing.of_after.get(ref, -1) for index in region.new for ref in pairing.after.refs[index]]
    return max(read, default=-1), region.new[0]
