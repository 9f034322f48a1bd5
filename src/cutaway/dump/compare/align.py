"""Two sequences side by side: what stands for what, in order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Pair = tuple[int | None, int | None]
"""Indices of two that stand for each other; None where one has no counterpart."""

MOST = 400_000
"""Comparisons. Longer sequences, which no compiler would have made, are paired by equality alone."""

Item = TypeVar("Item", bound=Hashable)


def align(left: Sequence[Item], right: Sequence[Item], likeness: Callable[[Item, Item], float]) -> list[Pair]:
    """Pair what is most alike, without changing the order (Needleman and Wunsch, 1970).

    Args:
        left, right: what to pair.
        likeness: of two items, 0 when they cannot stand for each other; of equal ones it is not asked.

    Returns:
        Every index of both, once, in an order that both have.
    """
    ends = min(len(left), len(right))
    head = next((at for at in range(ends) if left[at] != right[at]), ends)
    tail = next((at for at in range(ends - head) if left[-1 - at] != right[-1 - at]), ends - head)
    middle = (left[head : len(left) - tail], right[head : len(right) - tail])
    found = _best(*middle, likeness) if len(middle[0]) * len(middle[1]) <= MOST else _equal(*middle)
    pairs: list[Pair] = [(at, at) for at in range(head)]
    pairs += [(None if a is None else a + head, None if b is None else b + head) for a, b in found]
    return pairs + [(len(left) - at, len(right) - at) for at in range(tail, 0, -1)]


def _best(left: Sequence[Item], right: Sequence[Item], likeness: Callable[[Item, Item], float]) -> list[Pair]:
    known: dict[tuple[Item, Item], float] = {}

    def alike(a: Item, b: Item) -> float:
        if (a, b) not in known:
            known[a, b] = 2.0 if a == b else likeness(a, b)
        return known[a, b]

    scores = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        row, below = scores[i], scores[i + 1]
        for j in range(len(right) - 1, -1, -1):
            row[j] = max(below[j], row[j + 1], below[j + 1] + alike(left[i], right[j]))
    pairs: list[Pair] = []
    i = j = 0
    while i < len(left) and j < len(right):
        like = alike(left[i], right[j])
        if like and scores[i][j] == scores[i + 1][j + 1] + like:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif scores[i][j] == scores[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return pairs + [(at, None) for at in range(i, len(left))] + [(None, at) for at in range(j, len(right))]


def _equal(left: Sequence[Item], right: Sequence[Item]) -> list[Pair]:
    """Equal items in order, each with the next one that is left."""
    places: dict[Item, list[int]] = {}
    for j in range(len(right) - 1, -1, -1):
        places.setdefault(right[j], []).append(j)
    pairs: list[Pair] = []
    reached = 0
    for i, item in enumerate(left):
        some = places.get(item, [])
        while some and some[-1] < reached:
            some.pop()
        if not some:
            pairs.append((i, None))
            continue
        pairs += [(None, j) for j in range(reached, some[-1])]
        pairs.append((i, some[-1]))
        reached = some.pop() + 1
    return pairs + [(None, j) for j in range(reached, len(right))]
