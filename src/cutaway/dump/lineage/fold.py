"""What is the same in several layers, pieces and ranges, together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cutaway.dump.lineage.result import Group, KernelCall, Member, Step, Way
from cutaway.dump.query.labels import pattern

_NUMBERED = re.compile(r"_\d+$")

Place = tuple[str | None, str | None, str | None]


def fold(members: Iterable[Member]) -> tuple[Group, ...]:
    """Members that are the same but for the numbers of layers, pieces and kernels; in the order of each first one."""
    groups: dict[object, list[Member]] = {}
    for member in members:
        groups.setdefault(tuple(map(_form, member.ways)), []).append(member)
    return tuple(Group(tuple(group)) for group in groups.values())


def _form(way: Way) -> object:
    """What ways that are the same have in common."""
    return (
        way.lines,
        tuple(map(pattern, way.layers)),
        tuple(node.operator for node in way.captured),
        tuple(node.operator for node in way.nodes),
        frozenset(map(course_form, courses(way))),
    )


@dataclass
class Course:
    """The part of a way in one piece, range and phase; in whole graphs, where there is no piece.

    Attributes:
        piece, range, phase: which one.
        before: the step that it comes after; None for the first.
        steps, kernels: what is in it.
    """

    piece: str | None
    range: str | None
    phase: str | None
    before: Step | None = None
    steps: list[Step] = field(default_factory=list[Step])
    kernels: list[KernelCall] = field(default_factory=list[KernelCall])

    @property
    def changing(self) -> list[Step]:
        """The steps whose nodes are not just those of the step before."""
        pairs = zip([self.before, *self.steps], self.steps, strict=False)
        return [step for before, step in pairs if before is None or step.operators != before.operators]


def courses(way: Way) -> list[Course]:
    """The courses of a way, in order."""
    found: dict[Place, Course] = {}
    for step in way.steps:
        if step.stage == "after_split":
            continue
        if step.place not in found:
            found[step.place] = Course(*step.place, _last(found, step.place))
        found[step.place].steps.append(step)
    for call in way.kernels:
        found.setdefault(call.place, Course(*call.place)).kernels.append(call)
    return list(found.values())


def _last(found: Mapping[Place, Course], place: Place) -> Step | None:
    """The step that a course comes after."""
    piece, compile_range, _ = place
    for earlier in ((piece, compile_range, None), (piece, None, None), (None, None, None)):
        if earlier != place and earlier in found and found[earlier].steps:
            return found[earlier].steps[-1]
    return None


def course_form(course: Course) -> object:
    """What changes, and the kernels. Which pass does it counts where a range has its graph to itself: from AOT on."""
    changes = [(step.leaf if step.phase else "", step.operators) for step in course.changing]
    kernels = [(kernel_pattern(call.kernel), tuple(node.operator for node in call.nodes)) for call in course.kernels]
    return (tuple(changes), tuple(kernels))


def kernel_pattern(kernel: str) -> str:
    """A kernel's name without its number in the code."""
    return _NUMBERED.sub("", kernel)
