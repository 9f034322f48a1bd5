"""The steps of a compilation, by piece and range."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from cutaway.dump.compare.course import Step, steps_of
from cutaway.dump.compare.figures import Figures, Times, figures
from cutaway.dump.compare.pieces import by_size
from cutaway.dump.compilation import Compilation
from cutaway.dump.compilation import Step as AnyStep
from cutaway.dump.snapshot import Code

Place = tuple[str | None, str | None]
"""Piece and range."""


class Parts:
    """The steps of a compilation, by piece and range.

    Args:
        compilation: None for one that is not there.
    """

    def __init__(self, compilation: Compilation | None) -> None:
        self._steps: dict[Place, list[AnyStep]] = {}
        self._leader: dict[Place, str] = {}
        self._courses: dict[Place, tuple[Step, ...]] = {}
        self._identities: dict[Place, Hashable] = {}
        self._times = Times(compilation)
        self._home: dict[str, str] = {}
        if compilation is None:
            return
        for step in compilation.steps:
            place = (step.piece, step.range if step.piece is not None else None)
            self._steps.setdefault(place, []).append(step)
        for piece in compilation.pieces:
            for compile_range in piece.ranges:
                self._leader.setdefault((piece.same_as or piece.name, compile_range), piece.name)
        self._home = {piece.name: piece.same_as or piece.name for piece in compilation.pieces}

    @property
    def ranges(self) -> list[str]:
        """The compile ranges, in the order of their sizes."""
        return by_size(name for _, name in self._steps if name is not None)

    @property
    def pieces(self) -> list[str]:
        """The pieces, in model order."""
        return list(self._home)

    @property
    def figures(self) -> Figures:
        """What all of it came to."""
        return replace(figures(self._steps[place] for place in self._once(self._steps)), seconds=self._times.whole)

    def figures_of(self, pieces: Sequence[str], compile_range: str | None) -> Figures | None:
        """What compiling pieces for a range came to; None when none of them was compiled for it."""
        places = [self.place(piece, compile_range) for piece in pieces if self.has(piece, compile_range)]
        if not places or compile_range is None:
            return None
        seconds = self._times.of(pieces, compile_range)
        return figures((self._steps[place] for place in self._once(places)), seconds)

    def _once(self, places: Iterable[Place]) -> list[Place]:
        """Of places with equal pieces the first."""
        found: dict[Place, Place] = {}
        for place in places:
            piece, compile_range = place
            found.setdefault((self._home.get(piece or "", piece), compile_range), place)
        return list(found.values())

    def place(self, piece: str | None, compile_range: str | None) -> Place:
        """Where the steps of a piece and range are: with an equal piece, when it was compiled with that one."""
        if piece is None or (piece, compile_range) in self._steps:
            return (piece, compile_range)
        leader = self._leader.get((self._home[piece], compile_range or ""))
        return (leader or piece, compile_range)

    def has(self, piece: str | None, compile_range: str | None) -> bool:
        """Whether a piece was compiled for a range, by itself or with an equal one."""
        return piece is not None and compile_range is not None and self.place(piece, compile_range) in self._steps

    def steps(self, place: Place) -> tuple[Step, ...]:
        """Stages and passes."""
        if place not in self._courses:
            self._courses[place] = steps_of(self._steps.get(place, ()))
        return self._courses[place]

    def codes(self, place: Place) -> list[Code]:
        """Generated code."""
        return [step for step in self._steps.get(place, ()) if isinstance(step, Code)]

    def identity(self, place: Place) -> Hashable:
        """Equal for places of which the same is to be said."""
        if place not in self._identities:
            graphs = tuple((step.key, step.graph, step.changed) for step in self.steps(place))
            self._identities[place] = (graphs, tuple(code.digest for code in self.codes(place)))
        return self._identities[place]
