"""How long a graph takes: as Python, compiled here, and by the code that was generated of it when it was recorded."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.errors import CutawayError, ReplayError
from cutaway.replay.inputs import Chosen, choose_inputs
from cutaway.replay.job import Given, Graph
from cutaway.replay.launch import explained, launch_timed
from cutaway.replay.pairs import pair
from cutaway.replay.run import COMPILED, Compiled, Options, can_run, not_as_it_was
from cutaway.replay.sizes import agree, check_sizes
from cutaway.replay.subject import Subject
from cutaway.replay.time_job import How, Measured, TimeAnswer, Timee, TimeJob

REPEATS = 30
WARMUP = 3
UNSTEADY = 0.25
"""A way whose middle half spans more than this share of the median is said to be unsteady."""
SHORT = 100e-6
"""Seconds: of calls that are shorter, much is what Python and torch do around the kernels."""


@dataclass(frozen=True)
class Spread:
    """Measurements in order of size.

    Attributes:
        median, low, high: the middle one, and the ends of the middle half.
        least: the smallest.
        count: how many there are.
    """

    median: float
    low: float
    high: float
    least: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive") if values[1:] else [values[0]] * 3
        return cls(median, low, high, min(values), len(values))

    @property
    def width(self) -> float:
        """How wide the middle half is, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Timed:
    """A graph, measured in one way.

    Attributes:
        name: of the graph, or of the code.
        how: "eager" (its Python, operator by operator), "compiled" (by Inductor, here) or "code" (as it was generated
            when it was recorded).
        seconds: of one call; None when it was not measured.
        calls: how many calls one measurement is of.
        first: seconds until it had run once, with what was compiled for that.
        ratio: how many times as long as `to` it takes, round by round; None without that.
        ratio_of_fastest: the same of the fastest measurements, which say more when others disturb the machine.
        to: index of what it is compared with.
        why_not: why it was not measured.
    """

    name: str
    how: How
    seconds: Spread | None = None
    calls: int = 0
    first: float = 0.0
    ratio: Spread | None = None
    ratio_of_fastest: float | None = None
    to: int | None = None
    why_not: str = ""


@dataclass(frozen=True)
class Timing:
    """What was measured.

    Attributes:
        name: of the graph; `against` what it was compared with.
        sizes, seed, inputs, recorded, notes: as in `Replayed`.
        devices: where the inputs lie.
        threads: with how many threads torch runs an operator on the CPU.
        cores, load: of the machine: how many it has, and how many were busy on average in the minute before.
        rows: each way.
    """

    name: str
    against: str | None
    sizes: Mapping[str, int]
    seed: int
    inputs: int
    recorded: tuple[str, ...]
    devices: tuple[str, ...]
    threads: int
    cores: int
    load: float | None
    rows: tuple[Timed, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Plan:
    """What is to be measured, as it is put together.

    Attributes:
        timees: the graphs.
        names: of each; of its code where that is measured.
        notes: what is not measured, and why.
    """

    timees: list[Timee] = field(default_factory=list[Timee])
    names: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def add(self, subject: Subject, sizes: Mapping[str, int], ways: list[How]) -> Timee:
        timee = Timee(Graph(subject.raw.text, subject.raw.title, dict(sizes)), ways=ways)
        self.timees.append(timee)
        self.names.append(subject.name)
        return timee


def time_graph(
    graph: Snapshot | Subject,
    against: Snapshot | Subject | Compiled | None = None,
    options: Options | None = None,
    repeats: int = REPEATS,
) -> Timing:
    """Measure how long a graph takes, in a process of its own; each way in turn, many times.

    This executes code that lies in the dump. Do it with dumps that you trust.

    Args:
        graph: what to measure: as Python, compiled by Inductor here, and by the code that was generated of it, if the
            dump has that.
        against: another stage of the same graph, which is measured in the same ways; "compiled" for this graph as
            Python and compiled here, and nothing else.
        options: inputs, seed, sizes, limit; tolerances mean nothing here.
        repeats: rounds.

    Raises:
        ReplayError: it can be run in none of these ways.
        DumpError: the dump lacks what is needed.
        UsageError: a size that the graph does not have.

    >>> timing = time_graph(dump.find("piece_02/range_8_8/post_grad"))
    >>> [row.how for row in timing.rows if row.seconds.median < 0.001]
    ['compiled', 'code']
    """
    options = options or Options()
    subject = graph if isinstance(graph, Subject) else Subject.of(graph)
    reference = Subject.of(against) if isinstance(against, Snapshot) else against
    plan = _Plan()
    can_run(subject)
    if isinstance(reference, Subject):
        chosen = _two(plan, reference, subject, options)
    else:
        chosen = choose_inputs(subject, options.inputs, check_sizes(options.sizes, subject))
        plan.add(subject, chosen.sizes, ["eager", "compiled"]).graph.recorded = chosen.saved
    if reference != COMPILED:
        _add_code(plan, reference if isinstance(reference, Subject) else subject, subject, chosen.sizes, options)
    job = TimeJob(timees=plan.timees, seed=options.seed, warmup=WARMUP, repeats=repeats, seconds=options.limit / 4)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    answer = launch_timed(job, options.limit)
    rows = _rows(plan, answer)
    return Timing(
        name=subject.name,
        against=reference.name if isinstance(reference, Subject) else reference,
        sizes=chosen.sizes,
        seed=options.seed,
        inputs=len((reference if isinstance(reference, Subject) else subject).raw.inputs),
        recorded=tuple(chosen.recorded),
        devices=tuple(answer.devices),
        threads=answer.threads,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=load,
        rows=tuple(rows),
        notes=(*chosen.notes, *plan.notes, *not_as_it_was(subject), *_cautions(rows, answer, bool(chosen.sizes))),
    )


def _two(plan: _Plan, reference: Subject, subject: Subject, options: Options) -> Chosen:
    can_run(reference)
    pairs = pair(reference, subject)
    asked = check_sizes(options.sizes, reference, subject)
    chosen = choose_inputs(reference, options.inputs, asked, subject, pairs.sizes)
    plan.add(reference, chosen.sizes, ["eager", "compiled"]).graph.recorded = chosen.saved
    timee = plan.add(subject, chosen.sizes_of_other, ["eager", "compiled"])
    timee.given, timee.begin = pairs.given, pairs.begin
    plan.notes += [f"{subject.name} is a part of {reference.name}: the two do not do the same"] if pairs.begin else []
    return chosen


def _add_code(plan: _Plan, first: Subject, subject: Subject, sizes: Mapping[str, int], options: Options) -> None:
    """The code that was generated where the graph is, with the inputs of the last graph before it."""
    last, code = _generated(subject)
    if last is None or code is None:
        return
    try:
        text = code.text
        subject_of_last = Subject.of(last)
        can_run(subject_of_last)
        given: list[Given] = []
        own, begin = dict(sizes), None
        if last.selector != first.name:
            pairs = pair(first, subject_of_last)
            found, own = agree(sizes, subject_of_last, pairs.sizes, options.sizes)
            if found != dict(sizes):
                raise ReplayError(f"{last.selector} has other sizes")
            given, begin = pairs.given, pairs.begin
    except CutawayError as error:
        plan.notes.append(f"{code.selector} is not measured: {error}")
        return
    timee = plan.add(subject_of_last, own, ["code"])
    if last.selector == first.name:
        timee.graph.recorded = plan.timees[0].graph.recorded
    timee.given, timee.begin = given, begin
    timee.code, timee.code_title = text, code.owner.files[0].path if code.owner.files else code.selector
    plan.names[-1] = code.selector


def _generated(subject: Subject) -> tuple[Snapshot | None, Code | None]:
    """The last graph where a graph is, and the code that was generated of it."""
    dump, here = subject.dump, subject.snapshot
    if not isinstance(dump, Dump) or here is None:
        return None, None
    place = (here.compilation, here.piece, here.range, _side(here.phase))
    codes = [
        code
        for code in dump.codes.values()
        if code.kind == "output_code" and (code.compilation, code.piece, code.range, _side(code.phase)) == place
    ]
    graphs = [
        each
        for each in dump.snapshots.values()
        if each.stage == "post_grad" and (each.compilation, each.piece, each.range, _side(each.phase)) == place
    ]
    return (graphs[-1], codes[-1]) if graphs and codes else (None, None)


def _side(phase: str | None) -> str | None:
    """Before AOTAutograd a graph has no phase; what becomes of it in inference is its own."""
    return None if phase == "inference" else phase


def _rows(plan: _Plan, answer: TimeAnswer) -> list[Timed]:
    """Each way, and what it is compared with. Raises ReplayError when none could be measured."""
    measured = answer.measured
    if not any(one.seconds for one in measured):
        problem = next((one.problem for one in measured if one.problem is not None), None)
        if problem is None:
            raise ReplayError("nothing was measured")
        raise explained(problem, [timee.graph for timee in plan.timees])
    rows: list[Timed] = []
    for one in measured:
        name = plan.names[one.timee]
        if not one.seconds:
            why = one.problem.error if one.problem is not None else "it did not run"
            rows.append(Timed(name, one.how, why_not=why))
            continue
        to = _base(one, measured)
        ratio = fastest = None
        if to is not None:
            ratio = Spread.of([a / b for a, b in zip(one.seconds, measured[to].seconds, strict=True) if b > 0] or [1.0])
            fastest = min(one.seconds) / min(measured[to].seconds) if min(measured[to].seconds) > 0 else None
        rows.append(Timed(name, one.how, Spread.of(one.seconds), one.calls, one.first, ratio, fastest, to))
    return rows


def _base(one: Measured, measured: Sequence[Measured]) -> int | None:
    """What a way is compared with: the first graph, run in the same way; else the first way that was measured.

    Code that was generated is as good as what is compiled here.
    """
    if one.timee:
        how = "compiled" if one.how == "code" and len({other.how for other in measured if other.timee}) > 1 else one.how
        for at, other in enumerate(measured):
            if other.timee == 0 and other.how == how and other.seconds:
                return at
    first = next(at for at, other in enumerate(measured) if other.seconds)
    return first if measured[first] is not one else None


def _cautions(rows: Sequence[Timed], answer: TimeAnswer, has_sizes: bool) -> list[str]:
    """What these numbers do not say."""
    known = [row.seconds for row in rows if row.seconds is not None]
    notes: list[str] = []
    if all(device == "cpu" for device in answer.devices):
        notes.append("measured on the CPU of this machine: that says nothing about a GPU, nor about another CPU")
    if any(spread.median < SHORT for spread in known):
        cure = "; larger sizes tell more of the kernels (--size)" if has_sizes else ""
        notes.append(f"of calls this short a good part is what Python and torch do around the kernels{cure}")
    if any(spread.width > UNSTEADY for spread in known):
        notes.append(
            "unsteady: something else ran on this machine, or its clock changed, and the fastest tell more than the "
            "medians. Measure again when it is idle, or with OMP_NUM_THREADS=1"
        )
    if any(one.writes for one in answer.measured):
        notes.append("it writes to its inputs, which are put back between measurements, not between their calls")
    return notes
