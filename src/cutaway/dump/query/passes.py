"""Which nodes a pass touched: those that it made or changed, what they became, and what they had been made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cutaway.dump.query.way import Ids, Links, Way, table
from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node, NodeTable
from cutaway.dump.snapshot import Snapshot


def touched(dump: Dump, wanted: Callable[[str], bool]) -> Mapping[str, Ids]:
    """The nodes that some passes touched, at every stage.

    In the graph after a pass these are the nodes that are new or were changed, and in later graphs what stems from
    them; in the graph before it the nodes that are gone or were changed, and in earlier graphs what they stem from.

    Args:
        dump: the dump.
        wanted: which passes, by name.

    Returns:
        Selector -> ids of nodes of that snapshot.

    Raises:
        DumpError: a graph is not in the dump.
    """
    way = Way(dump)
    found: dict[str, Ids] = {}
    for snapshot in dump.snapshots.values():
        names = (snapshot.pass_name or "", snapshot.selector.rpartition("/")[2])
        before = way.before(snapshot)
        if before is None or not snapshot.pass_name or not snapshot.changed or not any(map(wanted, names)):
            continue
        made, gone = _changes(table(before), table(snapshot), way.links(before, snapshot))
        _add(found, way.later(snapshot, made))
        _add(found, way.earlier(before, gone))
    return found


def _add(found: dict[str, Ids], more: Iterable[tuple[Snapshot, Ids]]) -> None:
    for snapshot, ids in more:
        found.setdefault(snapshot.selector, set()).update(ids)


def _changes(before: NodeTable, after: NodeTable, links: Links) -> tuple[Ids, Ids]:
    """Ids of what a pass made or changed, and of what it took away or changed."""
    old = {node.id: node for node in before.nodes}
    kept: dict[int, int] = {}
    for node in after.nodes:
        origins = links.get(node.id, ())
        if len(origins) == 1 and _is_kept(old.get(origins[0]), node, links):
            kept[node.id] = origins[0]
    return {node.id for node in after.nodes} - kept.keys(), old.keys() - set(kept.values())


def _is_kept(old: Node | None, new: Node, links: Links) -> bool:
    """Whether a node does what it did, to what it did it to or to what was put in the place of that."""
    if old is None or (old.op, old.target, old.dtype, old.shape) != (new.op, new.target, new.dtype, new.shape):
        return False
    return _same(old.args, new.args, links) and _same(old.kwargs, new.kwargs, links)


def _same(old: Any, new: Any, links: Links) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        if "node" in old and "node" in new:
            origins = links.get(new["node"], ())
            return not origins or old["node"] in origins
        return old.keys() == new.keys() and all(_same(value, new[key], links) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(a, b, links) for a, b in zip(old, new, strict=True))
    return old == new
