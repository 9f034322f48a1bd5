"""Run a graph of a dump again, and find where it computes something else than another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cutaway.dump.snapshot import Snapshot
from cutaway.errors import ReplayError
from cutaway.replay.inputs import Inputs, choose_inputs
from cutaway.replay.job import Answer, Comparison, Graph, Job, Verdict
from cutaway.replay.launch import LIMIT, launch
from cutaway.replay.locate import Locator, Parting, descendants
from cutaway.replay.pairs import Pairs, pair
from cutaway.replay.result import Replayed, Result, Spot
from cutaway.replay.sizes import check_sizes
from cutaway.replay.subject import Subject

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
    _can_run(subject)
    chosen = choose_inputs(subject, options.inputs, check_sizes(options.sizes, subject))
    graph = Graph(subject.raw.text, subject.raw.title, chosen.sizes, chosen.saved)
    answer = _answer(Job(graphs=[graph], compiled=compiled), options)
    known = [(name, name, one) for name, one in zip(answer.inside, answer.values, strict=False) if one is not None]
    return _Told(subject, subject, answer, known).told(
        against=COMPILED if compiled else None,
        sizes=chosen.sizes,
        seed=options.seed,
        inputs=len(subject.raw.inputs),
        recorded=tuple(chosen.recorded),
        notes=(*chosen.notes, *_stand_ins(subject)),
        results=[(place, name) for place, name in enumerate(subject.raw.results)] if compiled else [],
    )


def _two(reference: Subject, subject: Subject, options: Options) -> Replayed:
    _can_run(reference)
    _can_run(subject)
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
        values=pairs.values,
        outputs=pairs.outputs,
    )
    answer = _answer(job, options)
    known = [(*names, one) for names, one in zip(pairs.values, answer.values, strict=False) if one is not None]
    return _Told(reference, subject, answer, known).told(
        against=reference.name,
        sizes=chosen.sizes,
        seed=options.seed,
        inputs=len(reference.raw.inputs),
        recorded=tuple(chosen.recorded),
        notes=(*chosen.notes, *pairs.notes, *_stand_ins(reference, subject)),
        results=_places(pairs, subject),
    )


def _answer(job: Job, options: Options) -> Answer:
    job.seed, job.memory = options.seed, options.memory
    job.rtol, job.atol = options.rtol, options.atol
    return launch(job, options.limit)


def _can_run(subject: Subject) -> None:
    if subject.raw.problems:
        more = subject.raw.problems[1:]
        why = subject.raw.problems[0] + (f" (and {len(more)} more reasons stand in its header)" if more else "")
        raise ReplayError(f"{subject.name} cannot be run in another process", why, "choose another stage or piece")


def _stand_ins(*subjects: Subject) -> list[str]:
    names = dict.fromkeys(name for subject in subjects for name in subject.raw.stand_ins)
    return [f"zeros stand in for {', '.join(names)}: it runs only inside the engine"] if names else []


def _places(pairs: Pairs, subject: Subject) -> list[tuple[int, str | None]]:
    """Which outputs of the other graph are compared, and the nodes that hold them."""
    names = subject.raw.results
    places = [two.output for _, two in pairs.outputs if two.output is not None]
    return [(place, names[place] if place < len(names) else None) for place in places]


class _Told:
    """Makes of the child's answer what is to be told."""

    def __init__(
        self, reference: Subject, subject: Subject, answer: Answer, known: Sequence[tuple[str, str, Comparison]]
    ) -> None:
        self.reference = reference
        self.subject = subject
        self.answer = answer
        self.known = [self._right(*each) for each in known]
        self.runs = answer.runs if len(answer.runs) == 2 else [*answer.runs, *answer.runs]
        self.writes = self.runs[0].after_writes, self.runs[1].after_writes
        if answer.inside:  # compiled code does not say what it writes to
            self.writes = self.writes[0], self.writes[0]

    def _right(self, one: str, two: str, compared: Comparison) -> tuple[str, str, Comparison]:
        """A pair that was a wrong guess, put right: another node of the same operator has the very value."""
        operator = _operator(self.subject, two)
        twin = next((name for name in compared.twins if _operator(self.reference, name) == operator), None)
        if twin is None:
            return one, two, compared
        types = compared.types[1], compared.types[1]
        return twin, two, Comparison(verdict="same", types=types, elements=compared.elements)

    def told(
        self,
        *,
        against: str | None,
        sizes: Mapping[str, int],
        seed: int,
        inputs: int,
        recorded: tuple[str, ...],
        notes: tuple[str, ...],
        results: Sequence[tuple[int, str | None]],
    ) -> Replayed:
        random = self._random(against)
        compared = self._results(results, random)
        locator = Locator(self.reference.raw, self.subject.raw, self.known, random, self.writes)
        part = self._first(locator, compared, lambda one: one.fine)
        told = against != COMPILED or bool(self.answer.inside)  # what compiled code computes inside is only asked then
        differ = self._first(locator, compared, lambda one: one.fine and one.verdict != "close") if told else None
        return Replayed(
            name=self.subject.name,
            against=against,
            sizes=sizes,
            seed=seed,
            inputs=inputs,
            recorded=recorded,
            notes=(*notes, *self._random_notes(compared)),
            runs=tuple(self.answer.runs),
            results=tuple(compared),
            compared=Counter[Verdict](one.verdict for _, _, one in self.known),
            part=part,
            differ=differ,
            elsewhere=None if part is not None else self._elsewhere(random),
            method=self.answer.method,
        )

    def _random(self, against: str | None) -> set[str]:
        """Nodes of the other graph that depend on random numbers which the two draw differently."""
        drawn = [{name.partition("/")[0] for name in run.random} for run in self.runs]
        if against == COMPILED:  # compiled code has generators of its own
            return descendants(self.subject.raw, drawn[0], self.writes[0])
        alike = {(one, two) for one, two, compared in self.known if compared.fine}
        ours = drawn[0] - {one for one, two in alike if two in drawn[1]}
        theirs = drawn[1] - {two for one, two in alike if one in drawn[0]}
        tainted = descendants(self.reference.raw, ours, self.writes[0])
        theirs |= {two for one, two, compared in self.known if one in tainted and not compared.fine}
        return descendants(self.subject.raw, theirs, self.writes[1])

    def _results(self, places: Sequence[tuple[int, str | None]], random: set[str]) -> list[Result]:
        found = [
            Result(name, place, compared, not compared.fine and name in random)
            for (place, name), compared in zip(places, self.answer.outputs, strict=True)
        ]
        names = self.subject.raw.inputs
        return found + [Result(names[index], None, compared) for index, compared in self.answer.inputs]

    def _first(self, locator: Locator, results: Sequence[Result], fine: Callable[[Comparison], bool]) -> Spot | None:
        """The first parting on the way to the results that are not fine."""
        starts: list[str] = []
        for result in results:
            if result.is_random or fine(result.comparison):
                continue
            starts += [result.name] if result.index is not None and result.name else []
            starts += self._writers(result)
        if not starts and all(fine(result.comparison) or result.is_random for result in results):
            return None
        found = locator.find(starts, fine)
        return self._spot(found) if found is not None else Spot(None, None, None)

    def _writers(self, result: Result) -> list[str]:
        """The nodes that wrote to a result's memory."""
        run = self.runs[0] if self.answer.inside else self.runs[1]
        if result.index is not None:
            writer = run.writers[result.index] if result.index < len(run.writers) else None
            return [writer] if writer is not None else []
        lines = self.subject.raw.lines
        return [name for name in lines if result.name in lines[name].reads]

    def _spot(self, parting: Parting) -> Spot:
        before = tuple(map(self.reference.node, parting.before))
        after = tuple(map(self.subject.node, parting.after))
        if parting.pair is None:
            return Spot(None, None, None, (before, after))
        one, two = self.reference.node(parting.pair[0]), self.subject.node(parting.pair[1])
        return Spot(one, two, parting.comparison, (before, after))

    def _elsewhere(self, random: set[str]) -> Spot | None:
        """The first node that differs beyond tolerance, though no result does."""
        order = {name: place for place, name in enumerate(self.subject.raw.lines)}
        parted = [each for each in self.known if not each[2].fine and each[1] not in random]
        if not parted:
            return None
        one, two, compared = min(parted, key=lambda each: order.get(each[1], 0))
        return Spot(self.reference.node(one), self.subject.node(two), compared)

    @staticmethod
    def _random_notes(results: Sequence[Result]) -> list[str]:
        count = sum(result.is_random for result in results)
        if not count:
            return []
        return [f"{count} of {len(results)} results depend on random numbers that the two draw differently"]


def _operator(subject: Subject, name: str) -> str:
    """What a node applies, as its line has it; a result that is taken out counts as one operator."""
    line = subject.raw.lines.get(name)
    value = line.text.partition(" = ")[2] if line is not None else name
    return value.partition("(")[0] if "(" in value else value.partition("[")[2]
