"""A graph as all formats see it: under a snapshot's own names of layers."""

from __future__ import annotations

from functools import cached_property

from cutaway.dump import Snapshot
from cutaway.web.data import Process, shapes
from cutaway.web.data.graph import graph as graph_of
from cutaway.web.data.graph import snapshot as snapshot_of


class Drawn:
    """A graph and what is a snapshot's own of it.

    Args:
        process: what was recorded.
        snapshot: the graph.

    Raises:
        DumpError: it cannot be read.
    """

    def __init__(self, process: Process, snapshot: Snapshot) -> None:
        self.process = process
        self.snapshot = snapshot
        self.graph = graph_of(process, snapshot.graph)
        self.own = snapshot_of(process, snapshot.selector)

    @property
    def nodes(self) -> list[shapes.GraphNode]:
        return self.graph.nodes

    @cached_property
    def _readers(self) -> dict[int, shapes.GraphNode]:
        """Node -> the first that reads it."""
        found: dict[int, shapes.GraphNode] = {}
        for node in self.nodes:
            for source in node.inputs:
                found.setdefault(source, node)
        return found

    def path(self, node: shapes.GraphNode) -> list[tuple[str, str]]:
        """(fqn, class) of the layers around a node, outermost first; empty when unknown.

        A weight stands with the node that reads it first: alone it says little, and a row of hundreds is no picture.
        """
        is_weight = node.op == "get_attr" or (node.op == "placeholder" and (node.input or "").startswith("self."))
        if is_weight and node.layer is None and node.id in self._readers:
            node = self._readers[node.id]
        if node.layer is None:
            return []
        found: list[tuple[str, str]] = []
        for layer in self.graph.layers[node.layer]:
            fqn, _, cls = layer.rpartition(": ")
            found.append((self.own.layer_map.get(fqn, fqn), cls))
        return found

    def source(self, node: shapes.GraphNode) -> shapes.SourceLine | None:
        """The line of the model's Python; None when unknown."""
        return None if node.source is None else self.graph.sources[node.source]

    def facts(self, node: shapes.GraphNode) -> dict[str, str]:
        """What is known of a node beside its name and its inputs; only what there is."""
        source = self.source(node)
        path = self.path(node)
        known = {
            "call": node.text,
            "target": node.target,
            "type": node.type,
            "layer": path[-1][0] if path else "",
            "class": path[-1][1] if path else "",
            "source": f"{source.file}:{source.line}" if source is not None else "",
            "code": source.code if source is not None else "",
            "input": node.input or "",
            "provider": self.own.providers.get(node.name) or node.provider or "",
            "kernels": ", ".join(self.own.kernels.get(str(node.id), ())),
        }
        return {name: value for name, value in known.items() if value}
