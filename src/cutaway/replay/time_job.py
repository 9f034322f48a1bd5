"""What the parent asks of the child that measures, and what that answers: plain JSON, as for a replay."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cutaway.replay.job import Given, Graph, Problem

How = Literal["eager", "compiled", "code"]
"""The raw graph as Python, operator by operator; what Inductor makes of it here; what it had generated when it was
recorded."""


class Timee(Struct):
    """A graph that is measured.

    Attributes:
        graph: it.
        given: its inputs that come from the first graph; all others are its own.
        begin: the first graph's node at which values that are given are taken; None for where each is computed.
        ways: how it is run.
        code: what was generated of it, for the way "code".
        code_title: the file of that, for tracebacks.
    """

    graph: Graph
    given: list[Given] = []
    begin: str | None = None
    ways: list[How] = []
    code: str = ""
    code_title: str = ""


class TimeJob(Struct, kw_only=True):
    """What the child is to do.

    Attributes:
        timees: the graphs.
        seed: for inputs, and for what draws random numbers.
        warmup: rounds that are not counted.
        repeats: rounds that are, at most; in each, every way is measured once, in turns.
        seconds: begin no further round after that, once there are a few.
    """

    timees: list[Timee]
    seed: int = 0
    warmup: int = 3
    repeats: int = 30
    seconds: float = 60.0

    @property
    def graphs(self) -> list[Graph]:
        """The graphs, in order."""
        return [timee.graph for timee in self.timees]


class Measured(Struct, kw_only=True):
    """A way of running a graph, measured.

    Attributes:
        timee: which graph.
        how: how it was run.
        first: seconds until it had run once: with what was compiled for that.
        calls: how many calls one measurement is of.
        seconds: of one call, in each round.
        writes: whether it writes to its inputs.
        problem: why it was not measured.
    """

    timee: int
    how: How
    first: float = 0.0
    calls: int = 0
    seconds: list[float] = []
    writes: bool = False
    problem: Problem | None = None


class TimeAnswer(Struct, kw_only=True):
    """What the child measured.

    Attributes:
        measured: each way, in the order of the job.
        devices: where the inputs lie: `cpu`, `cuda:0 (NVIDIA H200)`.
        threads: with how many threads torch runs an operator on the CPU.
        problem: why nothing was measured.
    """

    measured: list[Measured] = []
    devices: list[str] = []
    threads: int = 0
    problem: Problem | None = None
