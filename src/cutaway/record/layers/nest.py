"""Rows nested into the layers of the model, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cutaway.record.layers.rows import Path, Row

Key = tuple[Any, ...]
"""What a node is, up to its name and the number of its layer."""


@dataclass(slots=True)
class Layer:
    """A stretch of the graph that belongs to one layer: the rows with `start <= place < stop`.

    `title` is what to print in place of name and class.
    """

    fqn: str
    cls: str
    start: int
    stop: int = 0
    continued: bool = False
    items: list[Item] = field(default_factory=list)
    title: str = ""


@dataclass(slots=True)
class Difference:
    """How one layer differs from the one that is shown, at one of its nodes.

    `offset` counts the shown layer's nodes. `row` is the differing layer's node there; None when it has
    none. `extra` says that it has no counterpart and stands after `offset` (-1: before the first);
    `order` tells several of those apart.
    """

    offset: int
    row: Row | None
    key: Key
    extra: bool = False
    order: int = 0


@dataclass(slots=True)
class Fold:
    """Layers that are shown once: `shown` stands for all `members`, itself among them.

    All keys are the numbers of the members. `offsets` maps the offset of a node in a member to that of its
    counterpart in `shown`; a member without an entry has the shown layer's offsets. `label` names a set
    of members: `layers.0-35`.
    """

    shown: Layer
    members: dict[int, Layer]
    differences: dict[int, list[Difference]]
    offsets: dict[int, dict[int, int]]
    label: Callable[[Iterable[int]], str]


Item = Row | Layer | Fold


def nest(rows: Sequence[Row]) -> list[Item]:
    """Put rows into layers, in their order; a layer that is entered again is marked as continued.

    Args:
        rows: the body of a graph; each row's place is its index.
    """
    top: list[Item] = []
    opened: list[Layer] = []
    seen: set[str] = set()
    path: Path = ()
    for row in rows:
        if row.path != path:
            depth = _common(path, row.path)
            _close(opened, depth, row.place)
            for fqn, cls in row.path[depth:]:
                layer = Layer(fqn, cls, row.place, continued=fqn in seen)
                (opened[-1].items if opened else top).append(layer)
                opened.append(layer)
                seen.add(fqn)
            path = row.path
        (opened[-1].items if opened else top).append(row)
    _close(opened, 0, len(rows))
    return top


def _close(opened: list[Layer], depth: int, place: int) -> None:
    while len(opened) > depth:
        opened.pop().stop = place


def _common(a: Path, b: Path) -> int:
    for depth, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return depth
    return min(len(a), len(b))
