"""Replacements by their key: bounded, and shared by all pieces and ranges that a process compiles."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from cutaway.compiler.passes.replacement.identity import Identities
from cutaway.compiler.passes.replacement.recipe import Recipe


@dataclass(eq=False)
class ReplacementCache:
    """Key -> recipe; of more than ``size``, the one that was not used for longest goes. Threads may share it.

    Attributes:
        size: how many recipes are kept.
        hits: how many nodes were lowered with a recipe that was there.
        misses: how many were traced, and their recipe kept.
        uncached: how many were traced, and cannot serve another node.
        evicted: how many recipes had to go.
        identities: of the implementations, for the keys.
    """

    size: int = 1024
    hits: int = 0
    misses: int = 0
    uncached: int = 0
    evicted: int = 0
    identities: Identities = field(default_factory=Identities, repr=False)
    _recipes: OrderedDict[Hashable, Recipe] = field(default_factory=OrderedDict[Hashable, Recipe], repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return len(self._recipes)

    def get(self, key: Hashable) -> Recipe | None:
        """The recipe of a key. A key is made to be looked up once for all nodes of a graph that are alike."""
        with self._lock:
            found = self._recipes.get(key)
            if found is not None:
                self._recipes.move_to_end(key)
            return found

    def put(self, key: Hashable, recipe: Recipe) -> None:
        """Keep a recipe; of two threads that traced the same, the second's stays."""
        with self._lock:
            self._recipes[key] = recipe
            self._recipes.move_to_end(key)
            while len(self._recipes) > self.size:
                self._recipes.popitem(last=False)
                self.evicted += 1

    def count(self, hits: int, misses: int, uncached: int) -> None:
        """Add up what one run of the pass did."""
        with self._lock:
            self.hits += hits
            self.misses += misses
            self.uncached += uncached

    def clear(self) -> None:
        """Forget every recipe; the counts stay."""
        with self._lock:
            self._recipes.clear()


@functools.cache
def process_cache() -> ReplacementCache:
    """The cache of this process: what a lowering pass uses that is given none."""
    return ReplacementCache()
