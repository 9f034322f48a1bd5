"""Graphs for Google's Model Explorer: one collection, nested by layer, pieces as subgraphs of the stitching graph.

The format is what its JSON loader takes: {"label", "graphs": [{"id", "nodes": [{"id", "label", "namespace", "attrs",
"incomingEdges", "outputsMetadata", "subgraphIds"}]}]} (ai-edge-model-explorer 0.1, graph_builder.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cutaway.web.data import shapes
from cutaway.web.export.drawn import Drawn

SLASH = "\N{DIVISION SLASH}"
"""In place of a slash in a name: those of a namespace are its steps."""


def model_explorer(label: str, graphs: Sequence[Drawn]) -> dict[str, Any]:
    """A collection of graphs as plain values.

    Args:
        label: what the collection is called.
        graphs: in the order in which they are offered.
    """
    pieces = _pieces(graphs)
    return {"label": label, "graphs": [_graph(each, pieces) for each in graphs]}


def _pieces(graphs: Sequence[Drawn]) -> dict[tuple[str, int], str]:
    """(compilation, number of a piece) -> the graph that holds it."""
    found: dict[tuple[str, int], str] = {}
    for each in graphs:
        here = each.snapshot
        for other in each.process.graphs[here.graph] if here.stage == "piece" else ():
            number = (other.piece or "").rpartition("_")[2]
            if other.stage == "piece" and number.isdecimal():
                found[other.compilation or "", int(number)] = here.selector
    return found


def _graph(drawn: Drawn, pieces: dict[tuple[str, int], str]) -> dict[str, Any]:
    return {
        "id": drawn.snapshot.selector,
        "nodes": [_node(drawn, node, pieces) for node in drawn.nodes],
    }


def _node(drawn: Drawn, node: shapes.GraphNode, pieces: dict[tuple[str, int], str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(node.id),
        "label": (node.input or node.name) if node.op == "placeholder" else node.short or node.name,
        "namespace": "/".join(_segments(drawn.path(node))),
        "attrs": [{"key": "name", "value": node.name}, *_pairs(drawn.facts(node))],
        "incomingEdges": [
            {"sourceNodeId": str(source), "sourceNodeOutputId": "0", "targetNodeInputId": str(place)}
            for place, source in enumerate(node.inputs)
        ],
    }
    if node.type:
        found["outputsMetadata"] = [{"id": "0", "attrs": [{"key": "tensor_shape", "value": node.type}]}]
    piece = _piece(node)
    inside = pieces.get((drawn.snapshot.compilation or "", piece)) if piece is not None else None
    if inside is not None and drawn.snapshot.stage == "after_split":
        found["subgraphIds"] = [inside]
    return found


def _segments(path: Sequence[tuple[str, str]]) -> list[str]:
    """A step down the namespace for each layer: what its fqn adds, and its class."""
    found: list[str] = []
    outer = ""
    for fqn, cls in path:
        own = fqn.removeprefix(f"{outer}.") if outer else fqn
        found.append(f"{own}: {cls}".replace("/", SLASH) if own else cls.replace("/", SLASH))
        outer = fqn
    return found


def _pairs(facts: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in facts.items()]


def _piece(node: shapes.GraphNode) -> int | None:
    """The number of the piece that a node of a stitching graph calls: 2 for `submod_2`."""
    number = node.target.removeprefix("submod_")
    return int(number) if node.op == "call_module" and number.isdecimal() and len(number) < 10 else None
