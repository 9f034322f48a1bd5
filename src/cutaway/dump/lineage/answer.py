"""Answers questions about lineage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches

from cutaway.dump.lineage.ask import Asker
from cutaway.dump.lineage.calls import Calls
from cutaway.dump.lineage.fold import fold
from cutaway.dump.lineage.follow import Follower
from cutaway.dump.lineage.question import Question, Start
from cutaway.dump.lineage.result import Coverage, Lineage, Member, Way
from cutaway.dump.lineage.spot import Ids, Spot
from cutaway.dump.lineage.trail import Trail
from cutaway.dump.query.glob import glob
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import SelectorError


def lineage(dump: Dump, node: str, stage: str | None = None) -> Lineage:
    """The way of a node through all stages; or of all nodes of a line, of a layer, or of a kernel.

    Args:
        dump: the dump; what was read for one question is kept for the next.
        node: `SELECTOR:NODE`, the name of a node, `file.py:LINE`, a layer (`layers.3.mlp`, `layers.*.mlp`) or a
            kernel (`cpp_fused_add_3`; `piece_02/range_8_8:cpp_fused_add_3`). Where a name means several things,
            `name:`, `source:`, `layer:` or `kernel:` before it says which.
        stage: keep only the steps of this stage or pass, such as `captured` or `*Lowering*`.

    Raises:
        SelectorError: nothing is called so; with the nearest names.
        DumpError: the graph in question is not in the dump.

    >>> found = lineage(dump, "backbone/captured:mm_1")
    >>> found.layers, [node.operator for node in found.captured], [step.leaf for step in found.steps]
    (('layers.1.mlp: Qwen3MLP',), ['aten.mm'], ['captured', 'before_split'])
    """
    trail, calls = _index(dump)
    question = Asker(trail, calls).ask(node)
    follower = Follower(trail, calls, _kept(dump, stage))
    groups = fold(_members(question, trail, follower))
    return Lineage(node, question.kind, groups, _coverage(trail, calls, follower.last.values()), question.notes)


def _index(dump: Dump) -> tuple[Trail, Calls]:
    """What was read for earlier questions about this dump."""
    kept = vars(dump)
    if "_lineage" not in kept:
        kept["_lineage"] = (Trail(dump), Calls(dump))
    return kept["_lineage"]


def _kept(dump: Dump, stage: str | None) -> Callable[[Spot], bool]:
    """Which snapshots are steps of the answer. Raises SelectorError when no stage is called so."""
    if stage is None:
        return lambda spot: True
    test = glob(stage)
    names = [name for each in dump.snapshots.values() for name in _names(each)]
    if not any(map(test, names)):
        near = tuple(get_close_matches(stage, list(dict.fromkeys(names)), 3))
        cure = f"did you mean {' or '.join(near)}" if near else "list the stages with `cutaway ls`"
        raise SelectorError(f"no stage is called {stage!r}", "", cure, candidates=near)
    return lambda spot: any(map(test, _names(spot.snapshot)))


def _names(snapshot: Snapshot) -> list[str]:
    return [name for name in (snapshot.stage, snapshot.pass_name, snapshot.selector.rpartition("/")[2]) if name]


def _members(question: Question, trail: Trail, follower: Follower) -> Iterator[Member]:
    """What was asked for, place by place, with its ways."""
    found: dict[object, tuple[str, list[Way]]] = {}
    for number, start in enumerate(question.starts):
        ways = [follower.way(start.spot, ids) for ids in (_apart(trail, start) if start.call else [start.ids])]
        if start.call is not None and not ways:
            ways = [follower.unknown(start.spot, start.call)]
        title = start.title or follower.title(start.spot, start.call, start.ids)
        key = (start.spot.snapshot.compilation, title) if question.kind == "layer" else number
        found.setdefault(key, (title, []))[1].extend(ways)
    for title, ways in found.values():
        yield Member(title, tuple(ways))


def _apart(trail: Trail, start: Start) -> list[Ids]:
    """The nodes of a kernel, those together that stem from the same lines and layers; the unknown together, too."""
    roots, first = trail.roots(start.spot), trail.readable(trail.first(start.spot).snapshot)
    groups: dict[object, set[int]] = {}
    for number in sorted(start.ids):
        nodes = [first.nodes[root] for root in roots[number]] if first is not None else []
        groups.setdefault(frozenset((node.layer, node.source) for node in nodes), set()).add(number)
    return [frozenset(ids) for ids in groups.values()]


def _coverage(trail: Trail, calls: Calls, last: Iterable[Spot]) -> Coverage:
    """How much is known of the last graphs that were met."""
    graphs = nodes = known = total = told = 0
    for spot in last:
        table, first = trail.readable(spot.snapshot), trail.readable(trail.first(spot).snapshot)
        if table is None:
            continue
        in_lines = {node.id for node in first.nodes if node.source is not None} if first is not None else set[int]()
        mine = [roots for node, roots in zip(table.nodes, trail.roots(spot), strict=True) if node.is_call]
        graphs, nodes = graphs + 1, nodes + len(mine)
        known += sum(not roots.isdisjoint(in_lines) for roots in mine)
        here = calls.of(spot.snapshot)
        total, told = total + len(here), told + sum(bool(call.nodes) for call in here)
    return Coverage(graphs, nodes, known, total, told)
