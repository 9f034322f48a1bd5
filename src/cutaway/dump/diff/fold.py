"""Rewrites of single places, folded: those that are equal up to names and the layer's number are one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from cutaway.dump.diff.find import Found
from cutaway.dump.diff.result import Rewrite


def fold(found: Sequence[Found]) -> tuple[Rewrite, ...]:
    """Equal rewrites as one, in the order in which they were first found."""
    groups: dict[Hashable, list[Rewrite]] = {}
    for each in found:
        groups.setdefault(each.key, []).append(each.rewrite)
    return tuple(_folded(group) for group in groups.values())


def _folded(group: Sequence[Rewrite]) -> Rewrite:
    first = group[0]
    providers = tuple(sorted({name for each in group for name in each.providers}))
    passes = dict.fromkeys(name for each in group for name in each.passes)
    places = tuple(place for each in group for place in each.places)
    return replace(first, providers=providers, passes=tuple(passes), places=places)
