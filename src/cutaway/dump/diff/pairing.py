"""Pairs of nodes of two graphs, while they are being found."""

from __future__ import annotations

from cutaway.dump.diff.matching import Matching
from cutaway.dump.diff.sizes import Sizes
from cutaway.dump.diff.terms import Terms
from cutaway.dump.schema import Size


class Pairing:
    """Pairs found so far, by place in the tables.

    Attributes:
        before, after: the graphs.
        here, there: how the sizes of each graph are written in the other.
        of_before, of_after: the counterpart of each node that has one.
        kin: (place before, place after) of nodes of which it is recorded that one stems from the other.
        apart: places before and after of nodes that are not looked at by structure.
        equal: how many nodes compute the same from the same in both graphs.
        flipped: the pairs were found the other way round; what is a choice among equals is made that way, too.
        cut: one graph is a part of a larger one, whose inputs stand in no order that means anything.
    """

    def __init__(self, before: Terms, after: Terms, here: Sizes, there: Sizes) -> None:
        self.before, self.after = before, after
        self.here, self.there = here, there
        self.of_before: dict[int, int] = {}
        self.of_after: dict[int, int] = {}
        self.kin: list[tuple[int, int]] = []
        self.apart: tuple[set[int], set[int]] = set(), set()
        self.equal = 0
        self.flipped = self.cut = False
        self._free = list(range(len(before))), list(range(len(after)))

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
        """The nodes of both graphs that may still be paired, in order."""
        left, right = self._free
        left = [index for index in left if index not in self.of_before and index not in self.apart[0]]
        right = [index for index in right if index not in self.of_after and index not in self.apart[1]]
        self._free = left, right
        return self._free

    def inverse(self) -> Pairing:
        """The same for the graphs the other way round."""
        found = Pairing(self.after, self.before, self.there, self.here)
        found.of_before, found.of_after = self.of_after, self.of_before
        found.kin = [(right, left) for left, right in self.kin]
        found.apart = self.apart[1], self.apart[0]
        found.equal, found.flipped, found.cut = self.equal, not self.flipped, self.cut
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
