"""Why a cache missed, whether it serves the wrong thing, what is in it.

key           a key and what it was made of, of vLLM's caches and of ours
folders       the entries of a cache's folder (inspect: of vLLM's, of_inductor: what torch itself keeps)
differences   where two keys differ, in words (files: lines of traced files)
miss          something that was not there
misses        each miss with the entries that come nearest (of_torch: of torch's own caches)
"""

from __future__ import annotations

from cutaway.explain.cache.differences import Difference
from cutaway.explain.cache.miss import Miss, Neighbour
from cutaway.explain.cache.misses import explain_cache

__all__ = ["Difference", "Miss", "Neighbour", "explain_cache"]
