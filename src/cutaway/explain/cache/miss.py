"""What was not in a cache, and the entries that come near."""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.explain.cache.differences import Difference


@dataclass(frozen=True)
class Neighbour:
    """An entry that was there, and was another's.

    Attributes:
        key: its key.
        of: what it is of.
        made: when, in seconds since 1970.
        differences: what would have to be the same, the telling ones first.
    """

    key: str
    of: str
    made: float
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Miss:
    """Something that was not found in a cache.

    Attributes:
        cache: such as ``vllm_aot`` or ``cutaway_piece``.
        of: what was looked for: compilations or pieces.
        key: under which key.
        reason: what is known besides entries that come near, in words; empty when they say it all.
        causes: what the cache itself found to be another: files that were edited since.
        nearest: entries that were there, the nearest first.
    """

    cache: str
    of: tuple[str, ...]
    key: str
    reason: str = ""
    causes: tuple[Difference, ...] = ()
    nearest: tuple[Neighbour, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What is another, by the cache's own account or else in the nearest entry."""
        known = self.causes or (self.nearest[0].differences if self.nearest else ())
        return tuple(one.words for one in known)
