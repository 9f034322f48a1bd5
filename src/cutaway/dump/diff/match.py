"""Which node of a graph is which of another that is not known to come from it: structural matching.

Names are never looked at. In this order:

1. inputs are paired by the model path of the weight (or by their place), and what symbols of one graph are in the
   other is read off their sizes;
2. equal computations: nodes with the same hash from the bottom up, told apart from the outputs down, so that graphs
   which are equal up to names and harmless order match completely;
3. anchors: nodes that are the only ones of their kind on both sides, by what is made of them, by what stands around
   them (Weisfeiler-Leman refinement, two rounds, then one), by layer and line of Python;
4. from everything that is matched along the edges, to neighbours that apply the same operator;
5. nodes that apply the same operator with other constants, in the same place or between the same neighbours.

The idea is that of GumTree (Falleri et al., Fine-grained and accurate source code differencing, 2014), for graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from cutaway.dump.diff.course import Stems
from cutaway.dump.diff.leaves import pair_inputs, sizes_of
from cutaway.dump.diff.matching import Matching
from cutaway.dump.diff.sizes import Sizes, infer
from cutaway.dump.diff.terms import Labels, Terms, around, bottom_up, top_down
from cutaway.dump.schema import NodeTable, Size


def match_nodes(before: NodeTable, after: NodeTable) -> Matching:
    """Find which node of one graph is which of another, by structure.

    Args:
        before, after: any two graphs, also of different compilations, ranges, ranks or versions.

    Returns:
        The pairs, and the nodes that have no counterpart. The same for the graphs the other way round, inverted.
    """
    return pair_by_structure(before, after).result()


def pair_by_structure(before: NodeTable, after: NodeTable) -> Pairing:
    """As `match_nodes`, with what the comparison of the nodes needs."""
    if _key(before) > _key(after):
        return pair_by_structure(after, before).inverse()
    found = [_paired(before, after, leaves) for leaves in pair_inputs(before, after)]
    return max(found, key=lambda pairing: pairing.equal)


def pair_by_origin(before: NodeTable, after: NodeTable, stems: Stems) -> Pairing:
    """Find which node of a graph is which of an earlier one that it comes from.

    A node is the one that it stems from when it stems from that one alone and applies the same operator. What is
    not recorded is found by structure.

    Args:
        before, after: the graphs.
        stems: for each node of the graph after, places of nodes of the graph before.
    """
    leaves = [
        (before.nodes[min(some)].id, node.id)
        for node, some in zip(after.nodes, stems, strict=True)
        if len(some) == 1 and node.op == "placeholder" == before.nodes[min(some)].op
    ]
    pairing = _terms(before, after, leaves)
    old, new = pairing.before, pairing.after
    children: dict[int, list[int]] = {}
    for place, some in enumerate(stems):
        pairing.kin += [(origin, place) for origin in sorted(some)]
        if len(some) == 1 and old.kind[min(some)] == new.kind[place]:
            children.setdefault(min(some), []).append(place)
    for origin, places in children.items():
        name, label = old.nodes[origin].name, old.label[origin]
        same = min(places, key=lambda place: (new.nodes[place].name != name, new.label[place] != label, place))
        pairing.pair(origin, same)
    pairing.apart = {origin for origin, _ in pairing.kin}, {place for _, place in pairing.kin}
    if all(pairing.free()):
        _match(pairing)
    return pairing


def _key(table: NodeTable) -> tuple[int, bytes]:
    """Tells two graphs apart whichever comes first, so that a matching does not depend on that."""
    return len(table.nodes), msgspec.json.encode(table)


def _terms(before: NodeTable, after: NodeTable, leaves: Sequence[tuple[int, int]]) -> Pairing:
    here, there = infer(sizes_of(before, after, leaves), before.symbols, after.symbols)
    labels = Labels()
    return Pairing(Terms(before, labels, here), Terms(after, labels, there), here, there)


def _paired(before: NodeTable, after: NodeTable, leaves: Sequence[tuple[int, int]]) -> Pairing:
    pairing = _terms(before, after, leaves)
    for left, right in leaves:
        pairing.pair(pairing.before.index[left], pairing.after.index[right])
    _match(pairing)
    return pairing


class Pairing:
    """Pairs found so far, by place in the tables.

    Attributes:
        before, after: the graphs.
        here, there: how the sizes of each graph are written in the other.
        of_before, of_after: the counterpart of each node that has one.
        kin: (place before, place after) of nodes of which it is recorded that one stems from the other.
        apart: places before and after of nodes that are not looked at by structure.
        equal: how many nodes compute the same from the same in both graphs.
    """

    def __init__(self, before: Terms, after: Terms, here: Sizes, there: Sizes) -> None:
        self.before, self.after = before, after
        self.here, self.there = here, there
        self.of_before: dict[int, int] = {}
        self.of_after: dict[int, int] = {}
        self.kin: list[tuple[int, int]] = []
        self.apart: tuple[set[int], set[int]] = set(), set()
        self.equal = 0

    def pair(self, left: int, right: int) -> bool:
        """Pair two nodes unless one of them is paired already; whether that was done."""
        if left in self.of_before or right in self.of_after or left in self.apart[0] or right in self.apart[1]:
            return False
        self.of_before[left] = right
        self.of_after[right] = left
        return True

    def left(self) -> list[int]:
        """The nodes of the graph before that have no counterpart, in order."""
        return [index for index in range(len(self.before)) if index not in self.of_before]

    def right(self) -> list[int]:
        """The nodes of the graph after that have none, in order."""
        return [index for index in range(len(self.after)) if index not in self.of_after]

    def free(self) -> tuple[list[int], list[int]]:
        """The nodes of both graphs that may still be paired."""
        return (
            [index for index in self.left() if index not in self.apart[0]],
            [index for index in self.right() if index not in self.apart[1]],
        )

    def inverse(self) -> Pairing:
        """The same for the graphs the other way round."""
        found = Pairing(self.after, self.before, self.there, self.here)
        found.of_before, found.of_after = self.of_after, self.of_before
        found.kin = [(right, left) for left, right in self.kin]
        found.apart = self.apart[1], self.apart[0]
        return found

    def result(self) -> Matching:
        """The pairs by the nodes' ids."""
        old, new = self.before.nodes, self.after.nodes
        sizes: list[tuple[Size, Size]] = [(symbol, value) for symbol, value in self.here.known.items()]
        sizes += [(value, symbol) for symbol, value in self.there.known.items()]
        return Matching(
            tuple(sorted((old[left].id, new[right].id) for left, right in self.of_before.items())),
            tuple(old[index].id for index in self.left()),
            tuple(new[index].id for index in self.right()),
            tuple(sorted(sizes, key=str)),
        )


def _match(pairing: Pairing) -> None:
    """The steps of the module's docstring, from the second on."""
    old, new = pairing.before, pairing.after
    numbers = {left: old.labels.of(("leaf", left)) for left in pairing.of_before if old.is_leaf(left)}
    up = (
        bottom_up(old, _leaves(old, numbers, "before")),
        bottom_up(new, _leaves(new, {pairing.of_before[left]: number for left, number in numbers.items()}, "after")),
    )
    _outputs(pairing)
    _descend(pairing, list(pairing.of_before.items()), up)
    pairing.equal = len(pairing.of_before)
    if not all(pairing.free()):
        return
    down = top_down(old), top_down(new)
    place, label = (old.place, new.place), (old.label, new.label)
    for colours in ([up, down, place], [up, down], [up, place], [up]):
        _same(pairing, colours, up)
    near = around(old, old.label), around(new, new.label)
    far = around(old, near[0]), around(new, near[1])
    for colours in ([down, place], [far, place], [near, place], [label, place]):
        _alone(pairing, colours)
    _spread(pairing, label)
    for colours in ([down], [far], [near], [label]):
        _alone(pairing, colours)
        _spread(pairing, label)
    kind = old.kind, new.kind
    _spread(pairing, kind)
    _same(pairing, [label, place], label)
    _alone(pairing, [kind, place])
    _spread(pairing, kind)


Colours = tuple[Sequence[int], Sequence[int]]
"""A number for each node of the graph before and of the graph after."""


def _leaves(terms: Terms, numbers: Mapping[int, int], side: str) -> dict[int, int]:
    """Numbers for all inputs and unknown constants: those that are paired have the same on both sides."""
    return {
        index: numbers.get(index, terms.labels.of((side, index))) for index in range(len(terms)) if terms.is_leaf(index)
    }


def _outputs(pairing: Pairing) -> None:
    lefts, rights = (
        [index for index, node in enumerate(terms.nodes) if node.op == "output"]
        for terms in (pairing.before, pairing.after)
    )
    for left, right in zip(lefts, rights, strict=False):
        pairing.pair(left, right)


def _descend(pairing: Pairing, found: list[tuple[int, int]], colours: Colours) -> None:
    """Pair what paired nodes read, at the same places, where it has the same colour."""
    while found:
        left, right = found.pop()
        refs, others = pairing.before.refs[left], pairing.after.refs[right]
        if len(refs) == len(others):
            found += [
                (ref, other)
                for ref, other in zip(refs, others, strict=True)
                if colours[0][ref] == colours[1][other] and pairing.pair(ref, other)
            ]


def _buckets(pairing: Pairing, colours: Sequence[Colours]) -> Iterator[tuple[list[int], list[int]]]:
    """The unpaired nodes of each colour that both sides have; in an order that is the same from either side."""
    sides: list[dict[tuple[int, ...], list[int]]] = [{}, {}]
    for side, nodes in enumerate(pairing.free()):
        for index in nodes:
            key = tuple([colour[side][index] for colour in colours])
            sides[side].setdefault(key, []).append(index)
    for key, left in sides[0].items():
        if key in sides[1]:
            yield left, sides[1][key]


def _alone(pairing: Pairing, colours: Sequence[Colours]) -> None:
    """Pair nodes that are the only ones of their colour on both sides."""
    for left, right in _buckets(pairing, colours):
        if len(left) == len(right) == 1:
            pairing.pair(left[0], right[0])


def _same(pairing: Pairing, colours: Sequence[Colours], below: Colours) -> None:
    """Pair nodes of a colour that both sides have equally often: those that read the same first, then in order."""
    for left, right in _buckets(pairing, colours):
        left, right = (
            [each for each in left if each not in pairing.of_before],
            [each for each in right if each not in pairing.of_after],
        )
        if len(left) != len(right):
            continue
        for one, other in _by_what_they_read(pairing, left, right):
            if pairing.pair(one, other):
                _descend(pairing, [(one, other)], below)


def _by_what_they_read(pairing: Pairing, left: list[int], right: list[int]) -> Iterator[tuple[int, int]]:
    if len(left) == 1:
        yield left[0], right[0]
        return
    reading: dict[tuple[int, ...], list[int]] = {}
    for other in right:
        reading.setdefault(tuple(pairing.after.refs[other]), []).append(other)
    rest: list[int] = []
    for one in left:
        known = tuple([pairing.of_before.get(ref, -1) for ref in pairing.before.refs[one]])
        if reading.get(known):
            yield one, reading[known].pop(0)
        else:
            rest.append(one)
    free = sorted(other for others in reading.values() for other in others)
    yield from zip(rest, free, strict=True)


def _spread(pairing: Pairing, colours: Colours) -> None:
    """From all pairs along the edges, again and again: neighbours of the same colour at the same places."""
    found = sorted(pairing.of_before.items())
    while found:
        following: list[tuple[int, int]] = []
        for left, right in found:
            following += _neighbours(pairing, left, right, colours)
        found = [pair for pair in following if pairing.pair(*pair)]


def _neighbours(pairing: Pairing, left: int, right: int, colours: Colours) -> Iterator[tuple[int, int]]:
    refs, others = pairing.before.refs[left], pairing.after.refs[right]
    if len(refs) == len(others):
        for ref, other in zip(refs, others, strict=True):
            free = ref not in pairing.of_before and other not in pairing.of_after
            if free and colours[0][ref] == colours[1][other]:
                yield ref, other
    users = _free_users(pairing.before.users[left], pairing.of_before, colours[0])
    if not users:
        return
    for key, user in _free_users(pairing.after.users[right], pairing.of_after, colours[1]).items():
        if users.get(key, -1) >= 0 and user >= 0:
            yield users[key], user


def _free_users(
    users: list[tuple[int, int]], paired: Mapping[int, int], colours: Sequence[int]
) -> dict[tuple[int, int], int]:
    """(Colour, which reference) -> the one unpaired user like that; -1 when there are several."""
    found: dict[tuple[int, int], int] = {}
    for user, position in users:
        if user not in paired:
            key = (colours[user], position)
            found[key] = -1 if key in found else user
    return found
