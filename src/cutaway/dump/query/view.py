"""The graphs of a dump, each under the layers that it stands for.

A piece that repeats another is compiled with it: after the split, only one of them has snapshots. A view of such
a snapshot under the other piece's layers says what became of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from cutaway.dump.compilation import Compilation, Piece
from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node, NodeTable
from cutaway.dump.snapshot import Snapshot
from cutaway.record.layers.rows import renamed_input

_NUMBER = re.compile(r"\d+")


class View:
    """One graph under one piece's layers.

    Args:
        snapshot: the graph.
        piece: the piece whose layers are meant; None for a whole graph.
        change: layer fqns of the snapshot -> those that are meant, where these are others.
    """

    def __init__(self, snapshot: Snapshot, piece: str | None, change: Mapping[str, str] | None = None) -> None:
        self.snapshot = snapshot
        self.piece = piece
        self._change = change or {}
        self._paths: dict[tuple[int, int], tuple[str, ...]] = {}

    @property
    def stands_in(self) -> bool:
        """Whether the piece has no such snapshot itself: it was compiled with the snapshot's piece."""
        return self.piece != self.snapshot.piece

    @cached_property
    def stage(self) -> str:
        """The last component of the selector: the stage, and for a pass its number and name."""
        return self.snapshot.selector.rpartition("/")[2]

    @property
    def layers(self) -> list[str]:
        """The fqns of its layers."""
        return [self._change.get(layer, layer) for layer in self.snapshot.layers]

    @property
    def table(self) -> NodeTable:
        """The nodes, under the layers' names of the snapshot that holds them. Raises DumpError."""
        return self.snapshot.dump.table(self.snapshot.owner)[0]

    @cached_property
    def layer_map(self) -> Mapping[str, str]:
        """Layer fqns in the node table -> those that are meant, where these are others. Raises DumpError."""
        own = self.snapshot.layer_map
        if not self._change:
            return own
        names = {layer: own.get(layer, layer) for layer in self.snapshot.owner.layers}
        return {layer: self._change.get(name, name) for layer, name in names.items()}

    def path(self, node: Node, table: NodeTable) -> tuple[str, ...]:
        """A node's layers as "fqn: class", outermost first; empty when unknown.

        Args:
            node: a node of the view's table, or of a graph inside it.
            table: the table that the node is in.
        """
        if node.layer is None:
            return ()
        key = (id(table), node.layer)
        if key not in self._paths:
            self._paths[key] = tuple(map(self._renamed, table.layers[node.layer]))
        return self._paths[key]

    def input(self, node: Node) -> str:
        """A placeholder's model path or name; empty for other nodes."""
        if node.input is None:
            return ""
        return renamed_input(node.input, self.layer_map) if self.layer_map else node.input

    def provider(self, node: Node) -> str:
        """Who implements the node's op, or will; empty when nobody said."""
        return self._providers.get(node.name) or node.provider or ""

    @cached_property
    def _providers(self) -> Mapping[str, str]:
        return self.snapshot.owner.providers

    def _renamed(self, layer: str) -> str:
        fqn, separator, cls = layer.rpartition(": ")
        return f"{self.layer_map.get(fqn, fqn)}{separator}{cls}"


def views(dump: Dump) -> Iterator[View]:
    """Every graph of a dump, under its own layers first, then under those of pieces that were compiled with it."""
    for compilation in dump:
        together = compiled_together(compilation)
        for snapshot in compilation.snapshots:
            yield View(snapshot, snapshot.piece)
            for piece, change in together.get((snapshot.piece, snapshot.range), ()):
                yield View(snapshot, piece, change)


def compiled_together(
    compilation: Compilation,
) -> dict[tuple[str | None, str | None], list[tuple[str, Mapping[str, str]]]]:
    """Piece and range -> the equal pieces that were not compiled for it themselves, with their layers."""
    groups: dict[str, list[Piece]] = {}
    for piece in compilation.pieces:
        groups.setdefault(piece.same_as or piece.name, []).append(piece)
    found: dict[tuple[str | None, str | None], list[tuple[str, Mapping[str, str]]]] = {}
    for group in groups.values():
        ranges = {piece.name: set(piece.ranges) for piece in group}
        for compile_range in dict.fromkeys(each for piece in group for each in piece.ranges):
            first = next(piece for piece in group if compile_range in ranges[piece.name])
            rest = [piece for piece in group if compile_range not in ranges[piece.name]]
            pairs = [(piece.name, correspondence(first.layers, piece.layers)) for piece in rest]
            found[first.name, compile_range] = [(name, change) for name, change in pairs if change is not None]
    return found


def correspondence(ours: Sequence[str], theirs: Sequence[str]) -> Mapping[str, str] | None:
    """Layers of one piece -> those of an equal one; None when they do not correspond one to one up to numbers."""
    pairs = dict(zip(ours, theirs, strict=False))
    fits = len(ours) == len(theirs) and all(_NUMBER.sub("#", a) == _NUMBER.sub("#", b) for a, b in pairs.items())
    return pairs if fits else None
