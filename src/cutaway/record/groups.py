"""Nodes that feed each other, together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import fx


class Groups:
    """Union-find over nodes.

    Args:
        nodes: what is grouped.
        inputs: what each of them reads; readers outside of ``nodes`` count for nothing.
    """

    def __init__(self, nodes: Iterable[fx.Node], inputs: Mapping[fx.Node, list[fx.Node]]) -> None:
        self.parent = {node: node for node in nodes}
        for node in self.parent:
            for other in inputs[node]:
                if other in self.parent:
                    self.parent[self.root(node)] = self.root(other)

    def root(self, node: fx.Node) -> fx.Node:
        while self.parent[node] is not node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node

    def of(self, node: fx.Node) -> int:
        """The group of a node, as a number that only its members have."""
        return id(self.root(node))
