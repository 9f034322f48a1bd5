"""The structured form of a graph, as rows that fold."""

from __future__ import annotations

from cutaway.dump import Snapshot
from cutaway.dump.diff.result import providers_of
from cutaway.record.layers.nest import Fold
from cutaway.record.layers.outline import Entry, outline
from cutaway.record.layers.rows import Graph
from cutaway.web.data import shapes
from cutaway.web.data.process import Process
from cutaway.web.data.words import NAME, bounded, cut, cut_or_none


def layers(process: Process, selector: str, fold: bool = True) -> shapes.Layers:
    """A graph nested by layer, under its own layers' names; identical layers once.

    Args:
        process: what was recorded.
        selector: the snapshot, or a part of its selector.
        fold: show identical layers once.

    Raises:
        SelectorError: there is no such snapshot.
        DumpError: its graph cannot be read.
    """
    found = process.snapshot(selector)
    return shapes.Layers(found.selector, [layer_row(entry) for entry in outline(rows_of(found), fold)])


def rows_of(snapshot: Snapshot) -> Graph:
    """A snapshot's nodes as rows, under its own layers. Raises DumpError."""
    plain = snapshot.dump.table(snapshot.owner)[1]
    return Graph(bounded(plain), snapshot.layer_map, providers_of(snapshot), None)


def layer_row(entry: Entry) -> shapes.LayerRow:
    """One line of an outline."""
    item, row = entry.item, entry.row
    layer = item.shown if isinstance(item, Fold) else item
    fqn = None
    if layer is not None:
        fqn = item.label(item.members) if isinstance(item, Fold) else layer.fqn
    is_node = entry.kind == "node" and row is not None
    return shapes.LayerRow(
        kind=entry.kind,
        depth=entry.depth,
        text=cut(entry.text),
        type=cut(entry.type),
        source=row.source if is_node and row is not None and row.op != "placeholder" else "",
        provider=row.provider if is_node and row is not None else "",
        mark=entry.mark,
        nodes=[each.id for each in entry.rows],
        fqn=cut_or_none(fqn, NAME),
        cls=None if layer is None else cut(layer.cls, NAME),
        times=len(item.members) if isinstance(item, Fold) else 1,
    )
