"""What a replay found, made of what the child answered: which results part, and from which node on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from cutaway.replay.job import Answer, Comparison, Verdict
from cutaway.replay.locate import Locator, Parting, descendants
from cutaway.replay.result import Replayed, Result, Spot
from cutaway.replay.subject import Subject


class Told:
    """Makes of the child's answer what is to be told.

    Args:
        reference, subject: the graphs; the same one twice when it ran against itself compiled.
        answer: the child's.
        known: (node of the reference, node of the other, how they compare).
    """

    def __init__(
        self, reference: Subject, subject: Subject, answer: Answer, known: Sequence[tuple[str, str, Comparison]]
    ) -> None:
        self.reference = reference
        self.subject = subject
        self.is_compiled = reference is subject
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
        """What to tell.

        Args:
            against, sizes, seed, inputs, recorded, notes: as in `Replayed`.
            results: (place, node) of each output that was compared.
        """
        random = self._random()
        compared = self._results(results, random)
        locator = Locator(self.reference.raw, self.subject.raw, self.known, random, self.writes)
        part = self._first(locator, compared, lambda one: one.fine)
        told = not self.is_compiled or bool(self.answer.inside)  # what compiled code computes inside is only asked then
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

    def _random(self) -> set[str]:
        """Nodes of the other graph that depend on random numbers which the two draw differently."""
        drawn = [{name.partition("/")[0] for name in run.random} for run in self.runs]
        if self.is_compiled:  # compiled code has generators of its own
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
        """The first node that differs beyond tolerance, though no result does; a pass may well change a shape."""
        order = {name: place for place, name in enumerate(self.subject.raw.lines)}
        parted = [each for each in self.known if each[2].verdict == "apart" and each[1] not in random]
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
