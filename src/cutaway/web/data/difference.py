"""How two graphs differ: rewrites, which node is which, and both graphs side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from cutaway.dump import Snapshot, schema
from cutaway.dump.diff import Diff, Part, Rewrite, diff, match_nodes
from cutaway.dump.diff.result import TIMES
from cutaway.dump.schema import NodeTable
from cutaway.errors import UsageError
from cutaway.web.data import shapes
from cutaway.web.data.beside import beside
from cutaway.web.data.inside import Names, Pair
from cutaway.web.data.process import Process
from cutaway.web.data.words import NAME, cut

_NUMBER = re.compile(r"\d+")
MOST = 60_000
"""So many nodes do two graphs have together that are compared while somebody waits for it."""


def step_difference(process: Process, selector: str) -> shapes.Difference:
    """What a step changed: its graph against the one before it; nothing, for a pass that changed nothing.

    Args:
        process: what was recorded.
        selector: the step, or a part of its selector.

    Raises:
        SelectorError: there is no such step.
        UsageError: nothing comes before it.
        DumpError: a graph cannot be read.
    """
    found = process.find(selector)
    after = process.snapshot(selector)
    before = after if isinstance(found, schema.PassRan) else process.before(after)
    if before is None:
        raise UsageError(f"{after.selector!r} is the first graph of its compilation", "there is nothing before it")
    return difference(before, after)


def difference(before: Snapshot, after: Snapshot) -> shapes.Difference:
    """The difference of any two graphs, of one process or of two.

    Raises:
        DumpError: a graph cannot be read.
        UsageError: they are too large.
    """
    nodes = before.node_count + after.node_count
    if before.graph != after.graph and nodes > MOST:
        raise UsageError(
            f"{after.selector!r} is too large to be compared while you wait",
            f"the two graphs have {nodes} nodes together, and {MOST} take some 20 seconds",
            f"`cutaway diff DUMP {before.selector} {after.selector}` takes its time",
        )
    found = diff(before, after)
    part = found.parts[0]
    rewrites, numbers = _numbered(found)
    places = [place for rewrite in found.rewrites for place in rewrite.places]
    changed = {(each.before, each.after) for place in places for each in place.changes}
    return shapes.Difference(
        before=_side(before),
        after=_side(after),
        equal=found.is_empty,
        summary=cut(found.summary),
        ops_delta=found.ops_delta,
        sizes=list(found.sizes),
        rewrites=rewrites,
        kept={str(new): old for old, new in part.matching.pairs},
        removed=sorted(part.matching.only_before),
        added=sorted(part.matching.only_after),
        changed=sorted(changed),
        rows=beside(_pair(part, found, numbers)),
    )


def _side(snapshot: Snapshot) -> shapes.Side:
    dump = snapshot.dump
    return shapes.Side(snapshot.selector, snapshot.graph, snapshot.node_count, dump.run, dump.process)


def _numbered(found: Diff) -> tuple[list[shapes.Rewrite], dict[int, int]]:
    """The rewrites, those in graphs inside behind the others and the same in several of them once; and by `id` the
    number of each."""
    rewrites = [_rewrite(rewrite) for rewrite in found.rewrites]
    numbers = {id(rewrite): number for number, rewrite in enumerate(found.rewrites)}
    known: dict[object, int] = {}
    waiting = list(reversed(found.inside))
    while waiting:
        each = waiting.pop()
        waiting += reversed(each.diff.inside)
        for rewrite in each.diff.rewrites:
            place = (each.operator, *(_NUMBER.sub("#", name) for name in each.names))
            key = (*place, rewrite.kind, rewrite.text, rewrite.cls, rewrite.types, rewrite.providers)
            number = known.setdefault(key, len(rewrites))
            if number == len(rewrites):
                rewrites.append(_rewrite(rewrite))
                rewrites[-1].places = []
            else:
                _join(rewrites[number], rewrite)
            rewrites[number].graphs.append(cut(each.names[1], NAME))
            numbers[id(rewrite)] = number
    return rewrites, numbers


def _join(one: shapes.Rewrite, other: Rewrite) -> None:
    """Make one rewrite of the same in two graphs inside."""
    one.count += other.count
    one.often = f"{TIMES}{one.count}"
    one.layers = list(dict.fromkeys([*one.layers, *other.layers]))


def _pair(part: Part, found: Diff, numbers: Mapping[int, int]) -> Pair:
    """Two graphs and how they differ, with what it takes to look at the graphs inside."""
    held = {each.names: each.diff for each in found.inside}

    def inside(names: Names) -> Pair:
        known = held.get((names[0] or "", names[1] or ""))
        if known is not None:
            return _pair(known.parts[0], known, numbers)
        empty = NodeTable(nodes=[])
        old, new = (
            table.graphs[name] if name is not None else empty for table, name in zip(part.tables, names, strict=True)
        )
        inner = replace(part, tables=(old, new), matching=match_nodes(old, new), recorded=False)
        return _pair(inner, Diff((inner,), ()), numbers)

    return Pair(part, _members(found, numbers), _changes(found), inside)


def _members(found: Diff, numbers: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Ids before, and ids after -> the rewrite that they are part of."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for rewrite in found.rewrites:
        for place in rewrite.places:
            for ids, side in ((place.before, sides[0]), (place.after, sides[1])):
                for each in ids:
                    side.setdefault(each, numbers[id(rewrite)])
    return sides


def _changes(found: Diff) -> set[int]:
    """Ids after of nodes that stayed and differ in more than the name of the operator."""
    rewrites = [each for each in found.rewrites if each.kind in ("changed", "moved") and not each.is_renaming]
    return {each for rewrite in rewrites for place in rewrite.places for each in place.after}


def _rewrite(rewrite: Rewrite) -> shapes.Rewrite:
    return shapes.Rewrite(
        kind=rewrite.kind,
        text=cut(rewrite.text),
        cls=cut(rewrite.cls),
        often=rewrite.often,
        count=rewrite.count,
        layers=list(rewrite.layers),
        providers=list(rewrite.providers),
        passes=list(rewrite.passes),
        types=list(rewrite.types),
        absent=[shapes.AbsentLayers(list(each.layers), each.reason) for each in rewrite.absent],
        places=[shapes.RewritePlace(place.layer, list(place.before), list(place.after)) for place in rewrite.places],
        graphs=[],
    )
