"""The structured form of a graph, as rows that fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cutaway.dump.diff.inside import graphs_taken
from cutaway.dump.diff.result import providers_of
from cutaway.dump.schema import NodeTable
from cutaway.record.layers.nest import Fold
from cutaway.record.layers.outline import Entry, inner_graphs, inner_title, outline_without_inner
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
    table, plain = found.dump.table(found.owner)
    graph = Graph(bounded(plain), found.layer_map, providers_of(found), None)
    return shapes.Layers(found.selector, [layer_row(entry) for entry in outlined(graph, table, fold)])


def outlined(graph: Graph, table: NodeTable, fold: bool) -> list[Entry]:
    """The lines of a graph, the graphs inside it below the nodes that take them; what nobody takes stands at the end.

    Args:
        graph: its rows.
        table: the same graph.
        fold: show identical layers and identical graphs inside once.
    """
    nodes = {node.id: node for node in table.nodes}
    forms = {names[0]: (names, inner) for names, inner in inner_graphs(graph, fold)}
    form_of = {name: names[0] for names, _ in forms.values() for name in names}
    told: set[str] = set()

    def below(name: str, depth: int) -> Iterator[Entry]:
        form = form_of[name]
        if form in told:
            as_ = "as above" if name == form else f"as {form} above"
            yield Entry("note", depth, f"graph {name}: {as_}")
            return
        told.add(form)
        names, inner = forms[form]
        yield Entry("note", depth, inner_title(names))
        for entry in outlined(inner, table.graphs[form], fold):
            # The ids of its nodes are those of another graph.
            yield replace(entry, depth=entry.depth + depth + 1, rows=())

    found: list[Entry] = []
    for entry in outline_without_inner(graph, fold):
        found.append(entry)
        if entry.kind == "node" and forms:
            taken: dict[str, str] = {}
            for name in (name for row in entry.rows for name in graphs_taken(nodes[row.id], nodes, table)):
                taken.setdefault(form_of[name], name)
            for name in taken.values():
                found += below(name, entry.depth + 1)
    for form in forms:
        if form not in told:
            found += below(form, 0)
    return found


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
