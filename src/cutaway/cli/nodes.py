"""A node table as one line a node."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cutaway.cli.output import aligned
from cutaway.dump.schema import NodeTable
from cutaway.record.layers.rows import Graph
from cutaway.record.layers.words import REFERENCE


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
        parts = row.text.split(REFERENCE)
        names = [graph.rows[ref].name for ref in row.refs]
        text = "".join(part + name for part, name in zip(parts, [*names, ""], strict=True))
        what = f"{row.name} = {text}"
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
