"""A compilation and its pieces, as the manifest tells them."""

from __future__ import annotations

import re

from cutaway.dump import schema
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.errors import SelectorError

Step = Snapshot | schema.PassRan | Code


class Part:
    """Steps that belong together, in the order in which they were recorded."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[Step] = []

    @property
    def snapshots(self) -> list[Snapshot]:
        return [step for step in self.steps if isinstance(step, Snapshot)]

    @property
    def passes(self) -> list[schema.PassRan]:
        return [step for step in self.steps if isinstance(step, schema.PassRan)]

    @property
    def codes(self) -> list[Code]:
        return [step for step in self.steps if isinstance(step, Code)]


class Piece(Part):
    """One piece of a split graph, with all its ranges."""

    @property
    def ranges(self) -> list[str]:
        """The compile ranges it was compiled for, such as `1_4096`, in order."""
        return list(dict.fromkeys(step.range for step in self.steps if step.range is not None))

    @property
    def same_as(self) -> str | None:
        """The earlier piece that it is equal to up to names; None when it is the first of its kind."""
        whole = [snapshot.owner_piece for snapshot in self.snapshots if snapshot.stage == "piece"]
        if not self.snapshots:  # a warm start has code only
            whole = list({code.owner.piece for code in self.codes if code.kind == "output_code"})
        return whole[0] if len(whole) == 1 and whole[0] != self.name else None

    @property
    def layers(self) -> list[str]:
        """The fqns of its layers, in the order in which they first appear."""
        return next((snapshot.layers for snapshot in self.snapshots), [])


class Compilation(Part):
    """One compilation of one function.

    Attributes:
        name: its folder's name and the first component of its selectors.
        started: the event that began it; None when that is not in the manifest.
        steps: its snapshots, passes and code, those of its pieces included.
        caches, metrics, errors: the other events that belong to it.
        finished: whether it came to its end.
        failed: why the compile itself failed, as torch said it; None when it did not.
        restarted_as: the compilation that runs in its place, where Dynamo gave this attempt up and captured once more.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.started: schema.CompilationStarted | None = None
        self.caches: list[schema.CacheAsked] = []
        self.metrics: list[schema.Metric] = []
        self.errors: list[schema.Failure] = []
        self.finished = False
        self.failed: str | None = None
        self.restarted_as: str | None = None

    @property
    def function(self) -> str | None:
        """The qualified name of the function."""
        return self.started.function if self.started else None

    @property
    def model(self) -> str | None:
        """The class of the model."""
        return self.started.model if self.started else None

    @property
    def pieces(self) -> list[Piece]:
        """Its pieces, in model order; empty when it was not split."""
        pieces: dict[str, Piece] = {}
        for step in self.steps:
            if step.piece is not None:
                pieces.setdefault(step.piece, Piece(step.piece)).steps.append(step)
        return [pieces[name] for name in sorted(pieces, key=lambda name: (_number(name) or 0, name))]

    def piece(self, number: int | str) -> Piece:
        """A piece by its number or its name.

        Raises:
            SelectorError: there is no such piece.
        """
        pieces = self.pieces
        for piece in pieces:
            if piece.name == number or (isinstance(number, int) and _number(piece.name) == number):
                return piece
        names = [piece.name for piece in pieces]
        why = f"it has {', '.join(names)}" if names else "it was not split"
        raise SelectorError(f"{self.name!r} has no piece {number!r}", why, candidates=tuple(names))


def _number(piece: str) -> int | None:
    match = re.search(r"\d{1,18}$", piece)
    return int(match[0]) if match else None
