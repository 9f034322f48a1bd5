"""What a graph is run with: inputs that were recorded, sizes, and what has to be made anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cutaway.dump.schema import Size
from cutaway.replay.job import Saved
from cutaway.replay.sizes import agree, choose_sizes
from cutaway.replay.subject import Subject

Inputs = Literal["seeded", "recorded"]


@dataclass(frozen=True)
class Chosen:
    """What a graph is run with.

    Attributes:
        sizes: symbol -> size; `sizes_of_other` those of a second graph.
        saved: recorded inputs.
        recorded: names of these.
        notes: what is to be known of them, in words.
    """

    sizes: dict[str, int]
    sizes_of_other: dict[str, int] = field(default_factory=dict[str, int])
    saved: list[Saved] = field(default_factory=list[Saved])
    recorded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_inputs(
    subject: Subject,
    inputs: Inputs,
    asked: Mapping[str, int],
    other: Subject | None = None,
    pairs: Iterable[tuple[Size, Size]] = (),
) -> Chosen:
    """Choose sizes and inputs for a graph, and sizes for another that gets the same inputs."""
    sizes = choose_sizes(subject, {name: size for name, size in asked.items() if name in subject.raw.sizes})
    others: dict[str, int] = {}
    if other is not None:
        sizes, others = agree(sizes, other, pairs, asked)
    return Chosen(sizes, others)
