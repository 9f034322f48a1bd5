"""Run a graph of a dump again, and find where it computes something else than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cutaway.dump.snapshot import Snapshot
from cutaway.errors import ReplayError
from cutaway.replay.inputs import Inputs, choose_inputs
from cutaway.replay.job import Answer, Graph, Job
from cutaway.replay.launch import LIMIT, launch
from cutaway.replay.pairs import Pairs, pair
from cutaway.replay.result import Replayed
from cutaway.replay.sizes import check_sizes
from cutaway.replay.subject import Subject
from cutaway.replay.tell import Told

Compiled = Literal["compiled"]
COMPILED: Compiled = "compiled"
MEMORY = 1 << 30
"""Bytes of a reference's values that are held at a time."""


@dataclass(frozen=True)
class Options:
    """How to replay.

    Attributes:
        inputs: "seeded", or "recorded": the real ones, as far as they were recorded.
        seed: for inputs that are made, and for random numbers.
        sizes: symbol -> size; few rows for those that are not named.
        rtol, atol: tolerance; None for what suits the dtype (`cutaway.replay.compare.TOLERANCES`).
        memory: bytes of the reference's values that are held at a time; with less, both graphs run more often.
        limit: seconds.
    """

    inputs: Inputs = "seeded"
    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    rtol: float | None = None
    atol: float | None = None
    memory: int = MEMORY
    limit: float = LIMIT


def replay(
    graph: Snapshot | Subject, against: Snapshot | Subject | Compiled | None = None, options: Options | None = None
) -> Replayed:
    """Run a graph again, node by node, in a process of its own; or compare what it computes.

    This executes code that lies in the dump. Do it with dumps that you trust.

    Args:
        graph: what to run.
        against: None to run it alone; another stage of the same graph, which is the reference; or "compiled", to
            compare the graph run node by node (the reference) with what Inductor makes of it here.
        options: None for the defaults.

    Returns:
        Its results; and where it computes something else: the first node whose value is another.

    Raises:
        ReplayError: it cannot be run here, or the two cannot be compared.
        DumpError: the dump lacks what is needed.
        UsageError: a size that the graph does not have.

    >>> found = replay(dump.find("piece_02/range_8_8/post_grad"), dump.find("piece_02/piece"))
    >>> found.outcome, found.part.after.name
    ('apart', 'add_7')
    """
    options = options or Options()
    subject = graph if isinstance(graph, Subject) else Subject.of(graph)
    if against is None or against == COMPILED:
        return _one(subject, options, compiled=against is not None)
    reference = against if isinstance(against, Subject) else Subject.of(against)
    return _two(reference, subject, options)


def _one(subject: Subject, options: Options, compiled: bool) -> Replayed:
    can_run(subject)
    chosen = choose_inputs(subject, options.inputs, check_sizes(options.sizes, subject))
    graph = Graph(subject.raw.text, subject.raw.title, chosen.sizes, chosen.saved)
    answer = _answer(Job(graphs=[graph], compiled=compiled), options)
    known = [(name, name, one) for name, one in zip(answer.inside, answer.values, strict=False) if one is not None]
    return Told(subject, subject, answer, known).told(
        against=COMPILED if compiled else None,
        sizes=chosen.sizes,
        seed=options.seed,
        inputs=len(subject.raw.inputs),
        recorded=tuple(chosen.recorded),
        notes=(*chosen.notes, *not_as_it_was(subject)),
        results=[(place, name) for place, name in enumerate(subject.raw.results)] if compiled else [],
    )


def _two(reference: Subject, subject: Subject, options: Options) -> Replayed:
    can_run(reference)
    can_run(subject)
    pairs = pair(reference, subject)
    asked = check_sizes(options.sizes, reference, subject)
    chosen = choose_inputs(reference, options.inputs, asked, subject, pairs.sizes)
    graphs = [
        Graph(reference.raw.text, reference.raw.title, chosen.sizes, chosen.saved),
        Graph(subject.raw.text, subject.raw.title, chosen.sizes_of_other),
    ]
    job = Job(
        graphs=graphs,
        given=pairs.given,
        begin=pairs.begin,
        until=pairs.until,
        values=pairs.values,
        outputs=pairs.outputs,
    )
    answer = _answer(job, options)
    known = [(*names, one) for names, one in zip(pairs.values, answer.values, strict=False) if one is not None]
    return Told(reference, subject, answer, known).told(
        against=reference.name,
        sizes=chosen.sizes,
        seed=options.seed,
        inputs=len(reference.raw.inputs),
        recorded=tuple(chosen.recorded),
        notes=(*chosen.notes, *pairs.notes, *not_as_it_was(reference, subject), *_left_out(answer)),
        results=_places(pairs, subject),
    )


def _answer(job: Job, options: Options) -> Answer:
    job.seed, job.memory = options.seed, options.memory
    job.rtol, job.atol = options.rtol, options.atol
    return launch(job, options.limit)


def can_run(subject: Subject) -> None:
    """Raises ReplayError when a graph says of itself that it cannot be run in another process."""
    if subject.raw.problems:
        more = subject.raw.problems[1:]
        why = subject.raw.problems[0] + (f" (and {len(more)} more reasons stand in its header)" if more else "")
        raise ReplayError(f"{subject.name} cannot be run in another process", why, "choose another stage or piece")


def not_as_it_was(*subjects: Subject) -> list[str]:
    """What is not as it was: files that were edited, and operators that need the engine."""
    edited = [f"{subject.raw.title} was changed since it was recorded" for subject in subjects if subject.edited]
    names = dict.fromkeys(name for subject in subjects for name in subject.raw.stand_ins)
    zeros = [f"zeros stand in for {', '.join(names)}: it runs only inside the engine"] if names else []
    return edited + zeros


def _left_out(answer: Answer) -> list[str]:
    if not answer.left_out:
        return []
    return [f"{answer.left_out} pairs of nodes were not compared: they need more memory (--memory)"]


def _places(pairs: Pairs, subject: Subject) -> list[tuple[int, str | None]]:
    """Which outputs of the other graph are compared, and the nodes that hold them."""
    names = subject.raw.results
    places = [two.output for _, two in pairs.outputs if two.output is not None]
    return [(place, names[place] if place < len(names) else None) for place in places]
