"""What was done to a graph, node by node, while it was done: which new node stands in whose place.

A graph before and after a pass tells which nodes are gone and which are new. Where a pass rewrites neighbours (an
operator and the one that reads it), that does not tell which new node stands for which old one. torch calls hooks of
a GraphModule (torch/fx/graph_module.py) when a node is made, put in another's place, or erased; a rewrite makes
nodes, puts them in the place of others, and erases those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import fx

from cutaway import torch_internals
from cutaway.record.groups import Groups

Inputs = Mapping[fx.Node, list[fx.Node]]


@dataclass
class Rewrite:
    """Nodes that were made in one go, and what they took the place of.

    Attributes:
        made: the new nodes.
        replaced: old node -> the new nodes that are read in its place.
        erased: what was erased before the next rewrite began.
    """

    made: list[fx.Node] = field(default_factory=list[fx.Node])
    replaced: dict[fx.Node, set[fx.Node]] = field(default_factory=dict[fx.Node, set[fx.Node]])
    erased: list[fx.Node] = field(default_factory=list[fx.Node])


class Changes:
    """What was done to one graph since its last snapshot.

    Args:
        gm: the graph. Its hooks are in place only between :meth:`listen` and the undo that it returns.
    """

    def __init__(self, gm: fx.GraphModule) -> None:
        self.gm = gm
        self._listening = False
        self.clear()

    def clear(self) -> None:
        """A snapshot was taken: what comes is seen from there."""
        self._rewrites: list[Rewrite] = []
        self._by_name: dict[str, tuple[Rewrite, fx.Node]] = {}
        self._read: dict[fx.Node, list[fx.Node]] = {}
        self._merged: dict[str, dict[fx.Node, None]] = {}

    def listen(self) -> Callable[[], None]:
        """Begin to listen, unless that is so already; returns the undo."""
        if self._listening:
            return lambda: None
        undo = torch_internals.watch_nodes(self.gm, self._made, self._replaced, self._erased)
        self._listening = True

        def leave() -> None:
            self._listening = False
            undo()

        return leave

    # -- what the hooks tell ----------------------------------------------------------------------------

    def _made(self, node: fx.Node) -> None:
        latest = self._rewrites[-1] if self._rewrites else None
        if latest is None or latest.replaced or latest.erased:
            latest = Rewrite()
            self._rewrites.append(latest)
        latest.made.append(node)
        self._by_name[node.name] = (latest, node)

    def _replaced(self, old: fx.Node, new: str, user: fx.Node) -> None:
        rewrite, node = self._by_name.get(new, (None, None))
        if rewrite is not None and node is not None:
            rewrite.replaced.setdefault(old, set()).add(node)
        else:
            self._merged.setdefault(new, {})[old] = None

    def _erased(self, node: fx.Node) -> None:
        self._read[node] = list(node.all_input_nodes)  # torch takes them away
        if self._rewrites:
            self._rewrites[-1].erased.append(node)

    # -- what it comes to -------------------------------------------------------------------------------

    def stand_ins(self, ids: Mapping[fx.Node, int], read_before: Inputs) -> dict[fx.Node, set[int]]:
        """Node -> ids of the old nodes that it stands for besides itself.

        A new node stands for those whose place its rewrite took, and for the inside of what they were a part of. One
        that stayed stands for those that were merged into it, but not for what was dropped on the way from it.

        Args:
            ids: the old nodes.
            read_before: what each of them read.
        """
        now = set(self.gm.graph.nodes)
        parts = [part for rewrite in self._rewrites for part in self._parts(rewrite)]
        part_of = {node: number for number, part in enumerate(parts) for node in part.made}
        inside = self._inside(parts, read_before, now)
        origins: list[set[int]] = []
        for number, part in enumerate(parts):
            olds = {*part.replaced, *inside[number]}
            olds = {old for old in olds if old not in now} or olds
            origin = {ids[old] for old in olds if old in ids}
            earlier = [part_of[old] for old in olds if part_of.get(old, number) < number]
            origins.append(origin.union(*(origins[other] for other in earlier)))
        found = {node: origins[number] for node, number in part_of.items() if node in now and origins[number]}
        by_name = {node.name: node for node in now if node in ids}
        for name, olds in self._merged.items():
            node = by_name.get(name)
            gone = [old for old in olds if old in ids and old not in now]
            if node is not None and gone:
                merged = {ids[old] for old in gone if not _leads_to(node, old, ids, read_before)}
                if merged:
                    found[node] = merged
        return found

    def _parts(self, rewrite: Rewrite) -> list[Rewrite]:
        """A rewrite in as many parts as its new nodes do not feed each other."""
        read = {node: self._read.get(node) or list(node.all_input_nodes) for node in rewrite.made}
        groups = Groups(rewrite.made, read)
        parts: dict[int, Rewrite] = {}
        reads: dict[int, set[fx.Node]] = {}
        for node in rewrite.made:
            parts.setdefault(groups.of(node), Rewrite()).made.append(node)
            reads.setdefault(groups.of(node), set()).update(read[node])
        for old, into in rewrite.replaced.items():
            for node in into:
                parts[groups.of(node)].replaced.setdefault(old, set()).add(node)
        for node in rewrite.erased:
            for group, part in parts.items():
                if not reads[group].isdisjoint(self._read[node]):
                    part.erased.append(node)
        return list(parts.values())

    def _inside(self, parts: list[Rewrite], read_before: Inputs, now: set[fx.Node]) -> list[set[fx.Node]]:
        """For each part, the nodes that went because all that read them went: the inside of a pattern.

        What was erased and had no reader (it writes into its inputs) goes with the rewrite just before that reads
        what it read.
        """
        read = {**read_before, **{node: inputs for node, inputs in self._read.items() if node not in read_before}}
        made = [node for part in parts for node in part.made if node in self._read]
        readers: dict[fx.Node, list[fx.Node]] = {}
        for node in read:
            for other in read[node]:
                readers.setdefault(other, []).append(node)
        places: dict[fx.Node, set[int]] = {old: set() for olds in self._merged.values() for old in olds}
        for number, part in enumerate(parts):
            for node in [*part.replaced, *(node for node in part.erased if node not in readers)]:
                places.setdefault(node, set()).add(number)
        found: list[set[fx.Node]] = [set() for _ in parts]
        for node in [*reversed(made), *reversed(list(read_before))]:
            if node in now:
                continue
            if node not in places:
                places[node] = set[int]().union(*(places.get(reader, set[int]()) for reader in readers.get(node, ())))
            for number in places[node]:
                found[number].add(node)
        return found


def _leads_to(node: fx.Node, old: fx.Node, ids: Mapping[fx.Node, int], read_before: Inputs) -> bool:
    """Whether ``old`` was made from ``node``."""
    seen, open_nodes = {old}, [old]
    while open_nodes:
        for other in read_before.get(open_nodes.pop(), ()):
            if other is node:
                return True
            if other not in seen and ids.get(other, -1) > ids[node]:
                seen.add(other)
                open_nodes.append(other)
    return False
