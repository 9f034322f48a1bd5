"""The stages that one graph went through in two runs, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cutaway.dump import compilation, schema
from cutaway.dump.compare.align import align
from cutaway.dump.snapshot import Code, Snapshot

_NUMBER = re.compile(r"(?<=\.)\d+\.")


@dataclass(frozen=True)
class Step:
    """A stage, or a pass.

    Attributes:
        name: the last component of its selector.
        phase: inference, forward, backward; None before AOTAutograd.
        snapshot: the graph as it is after it: its own, or the latest before it; None when there is none yet.
        is_pass: whether it is a pass.
        changed: whether the graph differs from the one before.
    """

    name: str
    phase: str | None
    snapshot: Snapshot | None
    is_pass: bool
    changed: bool

    @property
    def key(self) -> tuple[str, str | None]:
        """What it is called in any version: without the number of the pass in its round."""
        return (_NUMBER.sub("", self.name), self.phase)

    @property
    def graph(self) -> str | None:
        """The fingerprint of the graph after it."""
        return self.snapshot.graph if self.snapshot else None


@dataclass(frozen=True)
class StepPair:
    """The same step in two runs; None where one has no such step."""

    a: Step | None
    b: Step | None

    @property
    def name(self) -> str:
        """What it is called; in the second run, where the names differ."""
        step = self.b or self.a
        return step.name if step else ""

    @property
    def same(self) -> bool:
        """Whether the graphs after it are the same; for a step of one run, whether it left the graph as it was."""
        if self.a and self.b:
            return self.a.graph == self.b.graph
        return not any(step.changed for step in (self.a, self.b) if step)

    @property
    def is_backward(self) -> bool:
        """Whether it is a step of the backward, which is a graph of its own beside the forward."""
        return any(step.phase == "backward" for step in (self.a, self.b) if step)


@dataclass(frozen=True)
class Span:
    """Steps in a row after which the graphs differ.

    Attributes:
        pairs: the steps, one or more.
        next: the step from which on the graphs are the same again; None when they stay different.
    """

    pairs: tuple[StepPair, ...]
    next: StepPair | None

    @property
    def both(self) -> StepPair | None:
        """The first step that both runs have."""
        return next((pair for pair in self.pairs if pair.a and pair.b and pair.a.snapshot and pair.b.snapshot), None)


@dataclass(frozen=True)
class Course:
    """The steps of a graph in two runs.

    Attributes:
        pairs: in order.
    """

    pairs: tuple[StepPair, ...]

    @cached_property
    def same(self) -> bool:
        """Whether every graph is the same."""
        return all(pair.same for pair in self.pairs)

    @cached_property
    def spans(self) -> list[Span]:
        """Where the graphs differ."""
        found: list[Span] = []
        run: list[StepPair] = []
        for pair in self.pairs:
            if run and pair.is_backward and not run[-1].is_backward:
                found.append(Span(tuple(run), None))
                run = []
            if not pair.same:
                run.append(pair)
            elif run and pair.a and pair.b:
                found.append(Span(tuple(run), pair))
                run = []
        return [*found, Span(tuple(run), None)] if run else found

    @property
    def last(self) -> StepPair | None:
        """The last step that both have."""
        return next((pair for pair in reversed(self.pairs) if pair.a and pair.b), None)

    @property
    def only_a(self) -> list[Step]:
        """Passes that only the first run has."""
        return [pair.a for pair in self.pairs if pair.a and not pair.b and pair.a.is_pass]

    @property
    def only_b(self) -> list[Step]:
        """Passes that only the second run has."""
        return [pair.b for pair in self.pairs if pair.b and not pair.a and pair.b.is_pass]

    @property
    def differently_changed(self) -> list[StepPair]:
        """Passes that changed the graph in one run and not in the other."""
        return [
            pair for pair in self.pairs if pair.a and pair.b and pair.a.changed != pair.b.changed and pair.a.is_pass
        ]


def steps_of(part: Sequence[compilation.Step]) -> tuple[Step, ...]:
    """The steps of a piece, a range or a whole graph, in order.

    Args:
        part: snapshots, passes and code of it.
    """
    return tuple(_steps(part))


def _steps(part: Sequence[compilation.Step]) -> Iterator[Step]:
    snapshots = {step.selector: step for step in part if isinstance(step, Snapshot)}
    latest: dict[str | None, Snapshot] = {}
    for step in part:
        if isinstance(step, Code) or (isinstance(step, schema.PassRan) and step.selector in snapshots):
            continue
        if isinstance(step, Snapshot):
            latest[step.phase] = step
        after = latest.get(step.phase) or latest.get(None)
        yield Step(step.selector.rpartition("/")[2], step.phase, after, step.pass_name is not None, step.changed)


def compare_steps(a: Sequence[Step], b: Sequence[Step]) -> Course:
    """The steps of two runs side by side, matched by their names and their order.

    Each phase by itself: a start that a cache serves tells of all of the forward before the backward.
    """
    pairs: list[StepPair] = []
    for phase in dict.fromkeys(step.phase for step in (*a, *b)):
        left, right = ([step for step in steps if step.phase == phase] for steps in (a, b))
        found = align([step.key for step in left], [step.key for step in right], lambda _, __: 0.0)
        pairs += [StepPair(None if i is None else left[i], None if j is None else right[j]) for i, j in found]
    return Course(tuple(pairs))
