"""Which node of one graph is which node of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from cutaway.dump.schema import Size


@dataclass(frozen=True)
class Matching:
    """Pairs of nodes of two graphs, by their ids.

    Attributes:
        pairs: (id before, id after) of nodes that are the same one, in the order of the ids before. They may still
            differ in arguments, dtype or sizes.
        only_before: ids of nodes that have no counterpart in the graph after.
        only_after: ids of nodes that have none in the graph before.
        sizes: what symbols of one graph are in the other, such as ("s72", 8).
    """

    pairs: tuple[tuple[int, int], ...] = ()
    only_before: tuple[int, ...] = ()
    only_after: tuple[int, ...] = ()
    sizes: tuple[tuple[Size, Size], ...] = ()

    @cached_property
    def after(self) -> Mapping[int, int]:
        """id before -> id after."""
        return dict(self.pairs)

    @cached_property
    def before(self) -> Mapping[int, int]:
        """id after -> id before."""
        return {new: old for old, new in self.pairs}

    @property
    def is_in_order(self) -> bool:
        """Whether the nodes stand in the same order."""
        return all(left[1] < right[1] for left, right in pairwise(self.pairs))

    def inverse(self) -> Matching:
        """The matching of the same graphs the other way round."""
        return Matching(
            tuple(sorted((new, old) for old, new in self.pairs)),
            self.only_after,
            self.only_before,
            tuple(sorted(((right, left) for left, right in self.sizes), key=str)),
        )
