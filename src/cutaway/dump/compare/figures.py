"""What a compile came to, in both runs: nodes, kernels and compile times, by piece and by range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cutaway.dump.compare.pieces import RangePair
from cutaway.dump.compilation import Compilation
from cutaway.dump.compilation import Step as AnyStep
from cutaway.dump.snapshot import Code, Snapshot

NOTABLE_SECONDS = 0.5
NOTABLE_RATIO = 1.5
"""Compile times differ from run to run: less than this is nothing."""

_SECONDS = ("seconds", "entire_frame_compile_time_s")
"""How long an engine says that a compile took; torch's own name comes second, because it is a part of an engine's."""


@dataclass(frozen=True)
class Figures:
    """What compiling something came to, in one run.

    Attributes:
        nodes: in the last graphs; None when there are none (it runs as it is, or came from a cache without them).
        kernels: how many were generated; None when the dump has no generated code of it.
        seconds: how long it took, the sum of `by_piece` for pieces; None when the run does not say.
        by_piece: piece -> seconds, of pieces with a time of their own. One that is compiled with an equal piece takes
            next to none.
    """

    nodes: int | None = None
    kernels: int | None = None
    seconds: float | None = None
    by_piece: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def known(self) -> bool:
        """Whether the run says any of it."""
        return (self.nodes, self.kernels, self.seconds) != (None, None, None)


@dataclass(frozen=True)
class FiguresPair:
    """The figures of two runs.

    Attributes:
        ranges: for which range; no range for a whole compilation.
        a, b: of either run; None where one did not compile this.
        pieces_a, pieces_b: names of the pieces that it is of, which are equal in either run; empty for all of them.
    """

    ranges: RangePair
    a: Figures | None
    b: Figures | None
    pieces_a: tuple[str, ...] = ()
    pieces_b: tuple[str, ...] = ()

    @property
    def notable(self) -> bool:
        """Whether they differ, times by more than they do from run to run."""
        if self.a is None or self.b is None:
            return any(each is not None and each.known for each in (self.a, self.b))
        if (self.a.nodes, self.a.kernels) != (self.b.nodes, self.b.kernels):
            return True
        return slower(self.a.seconds, self.b.seconds)

    @property
    def gap(self) -> float:
        """Seconds between the two; infinite where one run did not compile this."""
        if self.a is None or self.b is None:
            return float("inf")
        return abs((self.a.seconds or 0.0) - (self.b.seconds or 0.0))


def slower(a: float | None, b: float | None) -> bool:
    """Whether one compile time is longer than another by more than compile times differ from run to run."""
    if a is None or b is None:
        return False
    return abs(a - b) >= NOTABLE_SECONDS and max(a, b) >= NOTABLE_RATIO * min(a, b)


class Times:
    """How long a compilation and its pieces took, as the engine said it.

    Args:
        compilation: None for one that is not there.
    """

    def __init__(self, compilation: Compilation | None) -> None:
        self._known: dict[tuple[str | None, str | None], float] = {}
        self._whole: dict[str, float] = {}
        for metric in compilation.metrics if compilation else ():
            if metric.kind != "compile_time":
                continue
            for key in _SECONDS:
                value = metric.values.get(key)
                if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
                    continue
                if metric.piece is None:
                    self._whole[key] = self._whole.get(key, 0.0) + value
                elif key == "seconds":
                    place = (metric.piece, metric.range)
                    self._known[place] = self._known.get(place, 0.0) + value

    @property
    def whole(self) -> float | None:
        """Of the whole compilation, in seconds; of its pieces together where only these are known."""
        for key in _SECONDS:
            if key in self._whole:
                return round(self._whole[key], 4)
        return _sum(self._known.values())

    def of(self, pieces: Iterable[str], compile_range: str) -> dict[str, float]:
        """Of these pieces for a range, in seconds; those of which it is known."""
        return {piece: self._known[piece, compile_range] for piece in pieces if (piece, compile_range) in self._known}


def figures(steps: Iterable[Sequence[AnyStep]], by_piece: dict[str, float] | None = None) -> Figures:
    """What there is of some pieces, or of a whole compilation.

    Args:
        steps: of each that was compiled.
        by_piece: piece -> seconds.
    """
    known = [step for part in steps for step in part]
    last = [step.node_count for step in known if isinstance(step, Snapshot) and step.stage == "post_grad"]
    codes = [step.kind for step in known if isinstance(step, Code)]
    coded = "output_code" in codes or "kernel" in codes
    return Figures(
        sum(last) if last else None,
        codes.count("kernel") if coded else None,
        _sum((by_piece or {}).values()),
        by_piece or {},
    )


def _sum(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(sum(known), 4) if known else None
