"""A node table as one line a node."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cutaway.cli.output import aligned
from cutaway.dump.schema import NodeTable
from cutaway.record.layers.rows import Graph


def node_lines(table: NodeTable, indent: str = "") -> Iterator[str]:
    """Lines of id, name and right-hand side, type, innermost layer, source line and origins.

    Args:
        table: the graph.
        indent: what every line begins with.
    """
    graph = Graph(msgspec.to_builtins(table), {}, {}, None)
    rows = [["id", "node", "type", "layer", "source", "from (ids in the snapshot before)"]]
    for node in table.nodes:
        row = graph.rows[node.id]
        what = f"{row.name} = {graph.written(row, lambda other: other.name)}"
        if row.op == "placeholder":
            what = row.name if row.input in ("", row.name) else f"{row.name}: {row.input}"
        unknown = "" if row.op in ("placeholder", "output") else "?"
        layer = next(reversed(table.layer(node)), unknown)
        origins = ", ".join(map(str, node.origins))
        rows.append([str(node.id), what, row.type, layer, row.source, origins])
    yield from (indent + "  ".join(row).rstrip() for row in aligned(rows, right=(0,)))
    for name, inner in table.graphs.items():
        yield f"{indent}graph {name}"
        yield from node_lines(inner, indent + "  ")
