"""What there is in a dump, and what to look at first."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Severity = Literal["warn", "info"]
FindingKind = Literal[
    "pattern",
    "provider",
    "specialised",
    "ranks",
    "recompile",
    "graph_break",
    "error",
    "cache",
    "incomplete",
]


class Problem(Struct):
    """Sentences for people: what is missing or wrong, and what to do."""

    what: str
    why: str
    cure: str


class ProcessName(Struct):
    """A process, and those that compiled the same."""

    name: str
    same: list[str]


class RunName(Struct):
    """A run and its processes."""

    name: str
    processes: list[ProcessName]


class LeftOut(Struct):
    """What an offline report lacks."""

    what: str
    why: str


class ReportFacts(Struct):
    """How an offline report was made."""

    made: str
    redacted: bool
    only: list[str]
    left_out: list[LeftOut]


class Against(Struct):
    """Another dump, to compare with: what it is called, and what of it is compared first."""

    title: str
    run: str
    process: str


class Index(Struct):
    """What there is to choose from."""

    schema: Literal[1]
    cutaway: str
    title: str
    runs: list[RunName]
    run: str
    process: str
    live: bool
    growing: bool
    report: ReportFacts | None
    against: Against | None = None


class Fact(Struct):
    """A setting that is worth a line."""

    name: str
    value: str


class RecordingError(Struct):
    """Where recording failed."""

    where: str
    error: str
    traceback: str


class Finding(Struct):
    """Something to look at first; `where` opens it."""

    kind: FindingKind
    severity: Severity
    text: str
    detail: str
    where: str | None
    compilation: str | None


class Time(Struct):
    """Seconds."""

    name: str
    seconds: float


class CacheCount(Struct):
    """What a cache answered, and how often."""

    kind: str
    results: dict[str, int]


class RangeSummary(Struct):
    """A compile range of a piece."""

    name: str
    same: list[str]
    seconds: float | None
    cached: bool
    kernels: int


class PieceSummary(Struct):
    """A piece of a split graph."""

    name: str
    same_as: str | None
    kind: int
    compiled: bool
    label: str
    layers: list[str]
    nodes: int
    ranges: list[RangeSummary]
    ops: list[tuple[str, int]]


class CompilationSummary(Struct):
    """A compilation of one function."""

    name: str
    function: str | None
    file: str | None
    line: int | None
    model: str | None
    recompile: int
    reason: list[str]
    finished: bool
    failed: str | None
    times: list[Time]
    caches: list[CacheCount]
    nodes: int
    pieces: list[PieceSummary]
    whole: list[str]


class Totals(Struct):
    """How much there is of everything."""

    nodes: int
    graphs: int
    kernels: int
    files_bytes: int


class Overview(Struct):
    """One process at a glance."""

    run: str
    process: str
    model: str | None
    versions: dict[str, str]
    argv: list[str]
    facts: list[Fact]
    context: Any
    complete: bool
    notes: list[str]
    errors: list[RecordingError]
    findings: list[Finding]
    compilations: list[CompilationSummary]
    ranks: list[ProcessName]
    totals: Totals
