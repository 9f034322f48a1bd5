"""Counts of what happened, and a budget for tests to hold them to.

The idea is vLLM's ``CompilationCounter``; here a session owns one, so that two models do not share it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from cutaway.errors import CompileError

_OF_PASSES = {
    "matches": "patterns_matched",
    "lowered": "nodes_lowered",
    "misses": "replacements_traced",
    "hits": "replacements_reused",
}


@dataclass
class CompilationCounter:
    """What a session did so far.

    Attributes:
        graphs_seen: graphs that Dynamo handed over.
        pieces_seen: pieces after the split, splitting ops included.
        pieces_to_compile: those of them that are compiled.
        pieces_repeated: those that were equal to an earlier one.
        backend_compilations: times that a compiler ran (piece x range).
        artifacts_loaded: times that one was read from the cache instead.
        artifacts_saved: times that one was written to the cache.
        artifacts_refused: times that one in the cache was found bad.
        patterns_matched: places where a fusion fired.
        nodes_lowered: nodes of our ops that an implementation was put in the place of.
        replacements_traced: implementations that were traced for it.
        replacements_reused: nodes that took what was traced before.
        models_loaded: warm starts without Dynamo.
        models_saved: captured models written for such a start.
        cudagraphs_captured: CUDA graphs captured.
        cudagraphs_replayed: CUDA graphs replayed.
    """

    graphs_seen: int = 0
    pieces_seen: int = 0
    pieces_to_compile: int = 0
    pieces_repeated: int = 0
    backend_compilations: int = 0
    artifacts_loaded: int = 0
    artifacts_saved: int = 0
    artifacts_refused: int = 0
    patterns_matched: int = 0
    nodes_lowered: int = 0
    replacements_traced: int = 0
    replacements_reused: int = 0
    models_loaded: int = 0
    models_saved: int = 0
    cudagraphs_captured: int = 0
    cudagraphs_replayed: int = 0

    def add_pass(self, counts: Mapping[str, int]) -> None:
        """Add what a pass counted (``PassReport.counts``), as far as it is kept here."""
        for name, field in _OF_PASSES.items():
            setattr(self, field, getattr(self, field) + counts.get(name, 0))

    def __sub__(self, earlier: CompilationCounter) -> dict[str, int]:
        """How often each thing happened since ``earlier``."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) - getattr(earlier, name) for name in names}

    @contextlib.contextmanager
    def expect(self, **wanted: int) -> Generator[None]:
        """Hold what happens inside to exact numbers; what is not named may happen as often as it likes.

        Raises:
            CompileError: a number is another than was expected; all that differ are named.
            AttributeError: there is no such counter.
        """
        for name in wanted:
            getattr(self, name)
        before = dataclasses.replace(self)
        yield
        happened = self - before
        wrong = {name: happened[name] for name, number in wanted.items() if happened[name] != number}
        if wrong:
            text = ", ".join(f"{name} {number} (expected {wanted[name]})" for name, number in wrong.items())
            raise CompileError(f"not what was expected happened: {text}")
