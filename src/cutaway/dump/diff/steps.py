"""The steps of structural matching, one after another; what they are is told in `match`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.terms import Terms, around, bottom_up, top_down

_ROUNDS = 4
_LIST = 4
"""So many arguments at least are a list, of which one may be missing."""
_MANY = 8
"""Nodes that do the same and lie in the same place are compared one by one only when they are no more than this."""


def find_pairs(pairing: Pairing) -> None:
    """Pair all nodes of two graphs that can be told to be the same; inputs are paired already."""
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
    for _ in range(_ROUNDS):
        if _likely(pairing, [label, place]):
            _spread(pairing, kind)
    _same(pairing, [near, place], label, more=True)
    _same(pairing, [label, place], label, more=True)


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
        read = _aligned(pairing.before.refs[left], pairing.after.refs[right], colours)
        found += [pair for pair in read if pairing.pair(*pair)]


def _aligned(refs: Sequence[int], others: Sequence[int], colours: Colours) -> Iterator[tuple[int, int]]:
    """What stands at the same places and has the same colour.

    Of long lists of another length (a result more, a tensor less to join), those at the beginning and at the end.
    """
    pairs = list(zip(refs, others, strict=False))
    equal = [colours[0][ref] == colours[1][other] for ref, other in pairs]
    if len(refs) == len(others):
        yield from (pair for pair, same in zip(pairs, equal, strict=True) if same)
    elif len(pairs) >= _LIST:
        count = equal.index(False) if False in equal else len(pairs)
        yield from pairs[:count]
        for ref, other in zip(reversed(refs[count:]), reversed(others[count:]), strict=False):
            if colours[0][ref] != colours[1][other]:
                return
            yield ref, other


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


def _same(pairing: Pairing, colours: Sequence[Colours], below: Colours, more: bool = False) -> None:
    """Pair nodes of a colour that both sides have equally often: those that read the same first, then in order.

    Args:
        pairing: where to.
        colours: all of which are the same.
        below: of what these read, to go on with.
        more: also where one side has more of them, when they are too many to be compared one by one.
    """
    for left, right in _buckets(pairing, colours):
        left, right = (
            [each for each in left if each not in pairing.of_before],
            [each for each in right if each not in pairing.of_after],
        )
        many = more and max(len(left), len(right)) > _MANY
        if len(left) != len(right) and not many:
            continue
        for one, other in _by_what_they_read(pairing, left, right):
            if pairing.pair(one, other):
                _descend(pairing, [(one, other)], below)


def _by_what_they_read(pairing: Pairing, left: list[int], right: list[int]) -> Iterator[tuple[int, int]]:
    if len(left) == len(right) == 1:
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
    yield from zip(rest, free, strict=False)


def _spread(pairing: Pairing, colours: Colours) -> None:
    """From all pairs along the edges, again and again: neighbours of the same colour at the same places."""
    found = _beside_free(pairing)
    while found:
        following: list[tuple[int, int]] = []
        for left, right in found:
            following += _neighbours(pairing, left, right, colours)
        found = [pair for pair in following if pairing.pair(*pair)]


def _beside_free(pairing: Pairing) -> list[tuple[int, int]]:
    """The pairs that have an unpaired node next to them in the graph before, in order."""
    terms = pairing.before
    free = pairing.free()[0]
    near = {other for index in free for other in (*terms.refs[index], *(user for user, _ in terms.users[index]))}
    return sorted((index, pairing.of_before[index]) for index in near if index in pairing.of_before)


def _neighbours(pairing: Pairing, left: int, right: int, colours: Colours) -> Iterator[tuple[int, int]]:
    refs, others = pairing.before.refs[left], pairing.after.refs[right]
    for ref, other in _aligned(refs, others, colours):
        if ref not in pairing.of_before and other not in pairing.of_after:
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


def _likely(pairing: Pairing, colours: Sequence[Colours]) -> bool:
    """Pair what is left of a colour that one side has more often: those first that have most in common around them."""
    before = len(pairing.of_before)
    for left, right in _buckets(pairing, colours):
        if len(left) > _MANY or len(right) > _MANY:
            continue
        likely = [(-_common(pairing, one, other), one, other) for one in left for other in right]
        for common, one, other in sorted(likely):
            if common:
                pairing.pair(one, other)
    return len(pairing.of_before) > before


def _common(pairing: Pairing, left: int, right: int) -> int:
    """In how many places two nodes read, and are read by, nodes that are paired or that both have no counterpart."""
    refs, others = pairing.before.refs[left], pairing.after.refs[right]
    found = sum(_agree(pairing, *pair) for pair in zip(refs, others, strict=False))
    users = {(pairing.of_before.get(user), position) for user, position in pairing.before.users[left]}
    return found + 3 * len(users.intersection(pairing.after.users[right]))


def _agree(pairing: Pairing, left: int, right: int) -> int:
    """How well two values that are read in the same place agree: through what is gone or new, too."""
    known, other = pairing.of_before.get(left), pairing.of_after.get(right)
    if known is not None and other is not None:
        return 3 * int(known == right)
    if known is not None:
        return 2 * int(known in pairing.after.refs[right])
    return 2 * int(other in pairing.before.refs[left]) if other is not None else 1
