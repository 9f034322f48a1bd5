"""A graph that is to be replayed: a snapshot of a dump, or a raw file that lies in none."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from cutaway.dump.reader import Dump
from cutaway.dump.schema import Node, NodeTable, Source
from cutaway.dump.snapshot import Snapshot
from cutaway.errors import ReplayError
from cutaway.replay.raw import RawGraph, read_raw


@dataclass(frozen=True)
class NodeRef:
    """A node, as it is shown.

    Attributes:
        name: in the raw file, and in the node table.
        line: of the raw file, and `where` it stands, such as `00.captured.py:31`.
        layer: "fqn: class" of the innermost layer; None when unknown.
        source: the line of the model's Python; None when unknown.
    """

    name: str
    line: str
    where: str = ""
    layer: str | None = None
    source: Source | None = None


@dataclass(frozen=True)
class Subject:
    """A graph to replay.

    Attributes:
        name: its selector, or its file's name.
        raw: its file, read.
        snapshot: None for a file that lies in no dump.
        edited: somebody has changed its file in the dump since it was recorded.
    """

    name: str
    raw: RawGraph = field(repr=False)
    snapshot: Snapshot | None = field(default=None, repr=False)
    edited: bool = False

    @classmethod
    def of(cls, snapshot: Snapshot) -> Subject:
        """The graph of a snapshot. Raises DumpError, ReplayError."""
        owner = snapshot.owner
        text = snapshot.raw
        file = next(file for file in owner.files if file.kind == "raw")
        edited = blake2b(text.encode(), digest_size=16).hexdigest() != file.digest
        try:
            return cls(snapshot.selector, read_raw(text, file.path), snapshot, edited)
        except ReplayError as error:
            if not edited:
                raise
            why = f"it was changed since it was recorded, and {error.why}"
            raise ReplayError(error.what, why, "put it back as it was, or record again") from error

    @property
    def dump(self) -> Dump | None:
        """The dump that it is in."""
        store = self.snapshot.dump if self.snapshot is not None else None
        return store if isinstance(store, Dump) else None

    @property
    def table(self) -> NodeTable | None:
        """Its node table. Raises DumpError."""
        return self.snapshot.table if self.snapshot is not None else None

    def node(self, name: str) -> NodeRef:
        """One of its nodes."""
        known = self.raw.lines.get(name)
        line = known.text if known is not None else ""
        where = f"{self.raw.title.rpartition('/')[2]}:{known.number}" if known is not None else ""
        table = self.table
        node = next((node for node in table.nodes if node.name == name), None) if table is not None else None
        if table is None or node is None:
            return NodeRef(name, line, where)
        path = table.layer(node)
        return NodeRef(name, line, where, path[-1] if path else None, table.source(node))


def inputs_of(table: NodeTable) -> list[Node]:
    """The inputs of a graph, in the order in which it takes them."""
    return [node for node in table.nodes if node.op == "placeholder"]
