"""Graphs and generated texts of a dump: the manifest's facts, and the files when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cutaway.dump import schema
from cutaway.dump.schema import Node, NodeTable
from cutaway.errors import DumpError, SelectorError
from cutaway.record.layers import render_layers
from cutaway.record.layers.rows import renamed_input
from cutaway.record.layers.words import blocks

_NUMBER = re.compile(r"\d+")


class Store(Protocol):
    """What a snapshot asks of the dump that it is in."""

    path: Path
    run: str
    process: str
    snapshots: dict[str, Snapshot]
    codes: dict[str, Code]

    def model(self, compilation: str | None) -> str | None:
        """The class of the model that a compilation is of."""
        ...

    def table(self, snapshot: Snapshot) -> tuple[NodeTable, dict[str, Any]]:
        """The node table among a snapshot's own files."""
        ...

    def read(self, path: str) -> bytes:
        """A file of the dump."""
        ...


class Snapshot(schema.SnapshotTaken, tag="snapshot", dict=True):
    """A graph at a stage: the manifest's facts, and the graph itself when it is asked for."""

    @property
    def dump(self) -> Store:
        """The dump that it is in."""
        return vars(self)["_dump"]

    def attach(self, dump: Store) -> None:
        """Say which dump it is in."""
        vars(self)["_dump"] = dump

    @property
    def owner(self) -> Snapshot:
        """The snapshot whose files hold this graph: itself, or an earlier one that had the same graph.

        Raises:
            DumpError: the dump lacks it, or the files were left out while recording.
        """
        holder = self if self.same_as is None else self.dump.snapshots.get(self.same_as)
        if holder is None or not holder.files:
            raise DumpError(
                f"the graph of {self.selector!r} is not in this dump",
                f"it is the same as {self.same_as!r}, which is missing"
                if self.same_as is not None
                else "its files were left out: a size limit, or a full disk, while recording",
                "record again with more room",
            )
        return holder

    @property
    def owner_piece(self) -> str | None:
        """The piece that the files of this graph lie with; its own when the dump does not tell."""
        holder = self if self.same_as is None else self.dump.snapshots.get(self.same_as, self)
        return holder.piece

    @property
    def raw(self) -> str:
        """The graph as Python that runs; of the first snapshot that had it. Raises DumpError."""
        return read_text(self.dump, self.owner, "raw")

    @property
    def layers_text(self) -> str:
        """The graph nested by layer, under this snapshot's own layers. Raises DumpError."""
        if self.same_as is None and any(file.kind == "layers" for file in self.files):
            return read_text(self.dump, self, "layers")
        return self.render_layers()

    def render_layers(self, fold: bool = True, only: str | None = None) -> str:
        """The graph nested by layer, made anew from its node table.

        Args:
            fold: show identical layers once.
            only: a glob over layer fqns; None for all.

        Raises:
            DumpError: the node table is missing or broken.
            SelectorError: no layer matches `only`.
        """
        if only is not None and not any(fnmatchcase(layer, only) for layer in self.layers):
            near = tuple(get_close_matches(only, self.layers, 3))
            cure = f"did you mean {' or '.join(near)}" if near else f"the layers are {', '.join(self.layers)}"
            raise SelectorError(f"no layer matches {only!r}", "", cure, candidates=near)
        path = self.selector.partition("/")[2] or self.selector
        counts = [f"{len(blocks(list(self.layers)))} layers", f"{self.node_count} nodes"]
        facts = [path, self.dump.model(self.compilation), self.compilation, *counts]
        header: list[str] = []
        if self.owner is not self:
            header = [f"the same graph as {self.owner.selector}, whose node names and source lines these are"]
        return render_layers(
            self.dump.table(self.owner)[1],
            title=" · ".join(fact for fact in facts if fact),
            header=header,
            layer_map=self.layer_map,
            fold=fold,
            providers=self.providers if self.owner is self else self.owner.providers,
            only=only,
        )

    @property
    def layer_map(self) -> dict[str, str]:
        """Layer fqns of the snapshot that holds this graph -> this snapshot's; empty when they are the same.

        Also empty when the two lists of layers do not correspond one to one up to numbers: then the
        names are left as they are rather than guessed.
        """
        theirs, mine = self.owner.layers, self.layers
        pairs = dict(zip(theirs, mine, strict=False))
        fits = len(theirs) == len(mine) and all(pattern(a) == pattern(b) for a, b in pairs.items())
        return {a: b for a, b in pairs.items() if a != b} if fits else {}

    @property
    def table(self) -> NodeTable:
        """The graph's nodes, with this snapshot's own layer names. Raises DumpError."""
        table = self.dump.table(self.owner)[0]
        return _renamed(table, self.layer_map) if self.layer_map else table

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes of `table`. (How many there are is `node_count`, which needs no file.)"""
        return self.table.nodes


class Code(schema.CodeWritten, tag="code", dict=True):
    """Generated text: output code, a kernel, the stitching code, patterns or guards."""

    @property
    def dump(self) -> Store:
        """The dump that it is in."""
        return vars(self)["_dump"]

    def attach(self, dump: Store) -> None:
        """Say which dump it is in."""
        vars(self)["_dump"] = dump

    @property
    def owner(self) -> Code:
        """Whose files hold the text: itself, or an earlier one that had the same; itself when the dump lacks that."""
        return self if self.same_as is None else self.dump.codes.get(self.same_as, self)

    @property
    def digest(self) -> str:
        """The digest of the text; its own selector when the dump lacks it."""
        return next((file.digest for file in self.owner.files), self.selector)

    @property
    def text(self) -> str:
        """The text. Raises DumpError when the dump lacks it."""
        return read_text(self.dump, self.owner, "code")


def read_text(dump: Store, step: Snapshot | Code, kind: str) -> str:
    """One of a step's own files as text. Raises DumpError."""
    return dump.read(announced(step, kind).path).decode("utf-8", "replace")


def announced(step: Snapshot | Code, kind: str) -> schema.File:
    """One of a step's own files. Raises DumpError when it was left out."""
    for file in step.files:
        if file.kind == kind:
            return file
    raise DumpError(
        f"{step.selector!r} has no {kind} file",
        "it was left out while recording: a size limit, or a full disk",
        "record again with more room",
    )


def pattern(fqn: str) -> str:
    """A layer's name without its numbers."""
    return _NUMBER.sub("#", fqn)


def _renamed(table: NodeTable, layer_map: Mapping[str, str]) -> NodeTable:
    """A table under other layers' names."""
    layers = [[_renamed_layer(layer, layer_map) for layer in path] for path in table.layers]
    nodes = [
        node if node.input is None else msgspec.structs.replace(node, input=renamed_input(node.input, layer_map))
        for node in table.nodes
    ]
    return msgspec.structs.replace(table, layers=layers, nodes=nodes)


def _renamed_layer(layer: str, layer_map: Mapping[str, str]) -> str:
    fqn, separator, cls = layer.rpartition(": ")
    return f"{layer_map.get(fqn, fqn)}{separator}{cls}"
