"""Things that belong together, found pair by pair."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Groups(Generic[T]):
    """Union-find.

    Args:
        items: each by itself at first.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._parent = {item: item for item in items}

    def __contains__(self, item: T) -> bool:
        return item in self._parent

    def root(self, item: T) -> T:
        """The item that stands for a group."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: T, other: T) -> None:
        """Make one group of two."""
        self._parent[self.root(other)] = self.root(one)

    def members(self) -> list[list[T]]:
        """The groups, in the order of their first items."""
        found: dict[T, list[T]] = {}
        for item in self._parent:
            found.setdefault(self.root(item), []).append(item)
        return list(found.values())
