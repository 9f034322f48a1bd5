"""Runs of sibling layers that may be identical: neighbours whose fqns differ in one and the same integer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from cutaway.record.layers.nest import Item, Layer
from cutaway.record.layers.rows import Row

Member = tuple[Item, list[Row]]
"""A layer, and the nodes between it and the next one that belong to neither (a fusion across both)."""


def runs(items: Sequence[Item], marked: frozenset[int]) -> Iterator[list[Member]]:
    """Layers whose fqns differ in one and the same integer, in their order; anything else comes alone.

    Args:
        items: the items of one layer.
        marked: places of nodes whose layers must not be folded away.
    """
    index = 0
    while index < len(items):
        run: list[Member] = [(items[index], [])]
        names = _Names(items[index], marked)
        index += 1
        following = _following(items, index)
        while following < len(items) and names.take(items[following], marked):
            run[-1] = (run[-1][0], _rows(items[index:following]))
            run.append((items[following], []))
            index = following + 1
            following = _following(items, index)
        if len(run) > 1:
            tail = min(len(run[-2][1]), following - index)
            run[-1] = (run[-1][0], _rows(items[index : index + tail]))
            index += tail
        yield run


class _Names:
    """The fqns of a run so far: all equal but for one integer."""

    def __init__(self, first: Item, marked: frozenset[int]) -> None:
        self._first = split_numbers(first.fqn) if _can_fold(first, marked) else None
        self._at: int | None = None
        self._seen: set[str] = set()

    def take(self, item: Item, marked: frozenset[int]) -> bool:
        """Whether the item continues the run; then its name is taken in."""
        if self._first is None or not _can_fold(item, marked):
            return False
        mine = split_numbers(item.fqn)
        at = different_number(self._first, mine)
        if at is None or self._at not in (None, at) or mine[at] in self._seen:
            return False
        self._at = at
        self._seen.add(mine[at])
        return True


def _rows(items: Sequence[Item]) -> list[Row]:
    return [item for item in items if isinstance(item, Row)]


def _following(items: Sequence[Item], index: int) -> int:
    """The index of the first item from `index` on that is no row."""
    while index < len(items) and isinstance(items[index], Row):
        index += 1
    return index


def _can_fold(item: Item, marked: frozenset[int]) -> TypeGuard[Layer]:
    if not isinstance(item, Layer) or item.title:
        return False
    return not any(item.start <= place < item.stop for place in marked)


def split_numbers(fqn: str) -> list[str]:
    """`layers.0.mlp` as ["layers.", "0", ".mlp"]."""
    return re.split(r"(\d{1,18})", fqn)  # a dump is untrusted: Python reads no number of thousands of digits


def different_number(a: list[str], b: list[str]) -> int | None:
    """The index of the one integer in which two split fqns differ; None when it is not exactly one."""
    if len(a) != len(b):
        return None
    at = [index for index, (left, right) in enumerate(zip(a, b, strict=True)) if left != right]
    return at[0] if len(at) == 1 and at[0] % 2 else None


def with_tail(item: Item, tail: list[Row]) -> Item:
    """A layer with its tail as one more layer inside it, so that both are compared and shown together."""
    if not isinstance(item, Layer) or not tail:
        return item
    fqn, cls = tail[0].path[-1] if tail[0].path else ("", "no layer")
    after = Layer(fqn, cls, item.stop, item.stop + len(tail), items=[*tail], title=f"then, in {fqn or cls}:")
    return Layer(item.fqn, item.cls, item.start, after.stop, item.continued, [*item.items, after])
