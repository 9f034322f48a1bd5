"""Many layers in one name: `layers.0–3.mlp`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from cutaway.record.layers.runs import split_numbers
from cutaway.record.layers.words import spans

_NUMBER = re.compile(r"\d+")


@lru_cache(maxsize=8192)
def pattern(fqn: str) -> str:
    """A name without its numbers: what the names of identical layers have in common."""
    return _NUMBER.sub("#", fqn)


def label(fqns: Iterable[str]) -> str:
    """Names that are equal but for their numbers, as one.

    Args:
        fqns: the names; those of several patterns are joined by commas.

    >>> label(["layers.0.mlp", "layers.1.mlp", "layers.2.mlp", "norm"])
    'layers.0–2.mlp, norm'
    >>> label([f"layers.{i}.experts.{j}" for i in (1, 2) for j in range(8)])
    'layers.1–2.experts.0–7'
    """
    shapes: dict[str, list[tuple[str, ...]]] = {}
    for fqn in dict.fromkeys(fqns):
        shapes.setdefault(pattern(fqn), []).append(tuple(split_numbers(fqn)))
    return ", ".join("".join(parts) for names in shapes.values() for parts in _folded(names))


def _folded(names: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Names of one pattern, split at their numbers, folded number by number."""
    for at in range(1, len(names[0]), 2):
        groups: dict[tuple[str, ...], list[int]] = {}
        for name in names:
            groups.setdefault((*name[:at], "", *name[at + 1 :]), []).append(int(name[at]))
        names = [(*rest[:at], spans(sorted(set(numbers))), *rest[at + 1 :]) for rest, numbers in groups.items()]
    return names
