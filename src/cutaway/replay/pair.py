"""Two graphs run on the same inputs, value by value."""

from __future__ import annotations

from typing import Any

import torch

from cutaway.replay.compare import compare
from cutaway.replay.job import Comparison, End, Job, Ran
from cutaway.replay.loaded import LoadedGraph, StepError, changed_inputs, fitting, ran
from cutaway.replay.unwritten import is_unwritten
from cutaway.replay.values import content_of, copy, size_of
from cutaway.replay.watch import Watch

_MOST_ROUNDS = 50
_MOST_TWINS = 8


class Pair:
    """Runs a reference and another graph, and compares.

    Both are run as often as it takes: as many of the reference's values are held at a time as the memory allows.

    Args:
        job: what to compare.
        one, other: the graphs.
    """

    def __init__(self, job: Job, one: LoadedGraph, other: LoadedGraph) -> None:
        self.job = job
        self.one = one
        self.other = other
        self.values: list[Comparison | None] = [None] * len(job.values)
        self.outputs: list[Comparison] = []
        self.inputs: list[tuple[int, Comparison]] = []
        self.runs: list[Ran] = []
        self.left_out = 0
        self.contents: dict[bytes, list[str]] = {}
        self._of_one: dict[str, list[int]] = {}
        self._of_other: dict[str, list[int]] = {}
        for number, (left, right) in enumerate(job.values):
            self._of_one.setdefault(left, []).append(number)
            self._of_other.setdefault(right, []).append(number)
        self._ends = {end.value for pair in job.outputs for end in pair if end.value is not None}

    def run(self) -> None:
        """Compare everything. Raises StepError, NodeError."""
        first = self.one.inputs(self.job.seed)
        second = self.other.inputs(self.job.seed)
        reached = -1  # the last of the reference's nodes that has been compared
        for number in range(_MOST_ROUNDS):
            round_ = _Round(self, reached)
            round_.run(first, second)
            reached = round_.reached
            if number == 0:
                self.runs, self.outputs, self.inputs = round_.runs, round_.outputs(), round_.inputs()
            if round_.complete:
                return
        self.left_out = sum(value is None for value in self.values)

    def compare(self, one: list[Any], other: list[Any], reshape: bool = False) -> Comparison:
        return compare(one, other, self.job.rtol, self.job.atol, reshape)

    def note_content(self, name: str, values: list[Any]) -> None:
        """Note what a node of the reference computes."""
        content = content_of(values)
        if content is not None:
            self.contents.setdefault(content, []).append(name)

    def with_content(self, values: list[Any]) -> list[str]:
        """Nodes of the reference that compute the very same."""
        content = content_of(values)
        return self.contents.get(content, [])[:_MOST_TWINS] if content is not None else []

    def numbers(self, name: str, of_other: bool = False) -> list[int]:
        """Which of the job's values a node is in."""
        return (self._of_other if of_other else self._of_one).get(name, [])

    def is_end(self, name: str) -> bool:
        return name in self._ends


class _Round:
    """One run of both graphs, for those of the reference's values that the memory holds."""

    def __init__(self, pair: Pair, after: int) -> None:
        self.pair = pair
        self.after = after
        self.reached = after
        self.complete = True
        self.runs: list[Ran] = []
        self._place = -1
        self._held: dict[int, list[Any]] = {}
        self._bytes = 0
        self._over = False
        self._kept: set[str] = set()
        self._ends: tuple[dict[str, list[Any]], dict[str, list[Any]]] = ({}, {})
        self._outputs: tuple[list[Any], list[Any]] = ([], [])
        self._inputs: tuple[list[Any], list[Any]] = ([], [])
        self._written = False

    def run(self, first: list[Any], second: list[Any]) -> None:
        job = self.pair.job
        wanted = [given.value for given in job.given if given.value is not None]
        watch = Watch(self._keep, job.seed, begin=job.begin, wanted=wanted)
        outputs, left = self.pair.one.run(first, watch)
        self._note(0, outputs, first, left, watch)
        taken = {
            given.index: first[given.input] if given.input is not None else watch.taken[given.value or ""]
            for given in job.given
            if given.input is not None or given.value in watch.taken
        }
        if len(taken) < len(job.given):
            lacking = [given.value for given in job.given if given.index not in taken]
            raise StepError("inputs", 1) from LookupError(f"the first graph did not compute {lacking[0]!r}")
        names = {right: left for left, right in reversed(job.values)}
        watch = Watch(self._compare, job.seed, names)
        given = fitting(taken, second)
        outputs, left = self.pair.other.run(given, watch)
        self._note(1, outputs, given, left, watch)

    def _note(self, side: int, outputs: list[Any], inputs: list[Any], left: list[Any], watch: Watch) -> None:
        self._outputs[side][:] = [copy(value) for value in outputs]
        self._inputs[side][:] = left
        self._written = self._written or watch.written
        changed = changed_inputs(inputs, left) if watch.written else []
        self.runs.append(ran(watch, outputs, changed))

    def _keep(self, name: str, values: list[Any]) -> None:
        """Hold what the reference computed, until it has been compared."""
        if self.pair.is_end(name) and not self._over:
            self._ends[0][name] = [copy(value) for value in values]
        self._over = self._over or name == self.pair.job.until
        if self.after < 0 and "/" not in name:
            self.pair.note_content(name, values)
        numbers = self.pair.numbers(name)
        if not numbers or name in self._kept:  # seen again when its memory was written to
            return
        self._kept.add(name)
        self._place += 1
        if self._place <= self.after or not self.complete:
            return
        held = [copy(value) for value in values]
        if self._held and self._bytes + size_of(held) > self.pair.job.memory:
            self.complete = False
            return
        self._bytes += size_of(held)
        self._held |= dict.fromkeys(numbers, held)
        self.reached = self._place

    def _compare(self, name: str, values: list[Any]) -> None:
        if self.pair.is_end(name):
            self._ends[1][name] = [copy(value) for value in values]
        for number in self.pair.numbers(name, of_other=True):
            held = self._held.get(number)
            if held is None:
                continue
            found = self.pair.values[number] = self.pair.compare(held, values, reshape=True)
            if not found.fine:
                found.twins = self.pair.with_content(values)
            if found.fine or not any(isinstance(each, torch.Tensor) and is_unwritten(each).any() for each in values):
                del self._held[number]  # else it will be seen again when it is written to

    def outputs(self) -> list[Comparison]:
        return [self.pair.compare(self._end(0, left), self._end(1, right)) for left, right in self.pair.job.outputs]

    def _end(self, side: int, end: End) -> list[Any]:
        if end.output is not None:
            return self._outputs[side][end.output : end.output + 1]
        return self._ends[side].get(end.value or "", [])

    def inputs(self) -> list[tuple[int, Comparison]]:
        """Those that both were given and one of them wrote to, as they are after the runs."""
        if not self._written:
            return []
        changed = set(self.runs[0].changed), set(self.runs[1].changed)
        found: list[tuple[int, Comparison]] = []
        for given in self.pair.job.given:
            if given.input is not None and (given.input in changed[0] or given.index in changed[1]):
                left, right = self._inputs[0][given.input], self._inputs[1][given.index]
                found.append((given.index, self.pair.compare([left], [right])))
        return found
