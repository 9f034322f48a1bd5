"""All nodes of all graphs, once each, in columns."""

from __future__ import annotations

from cutaway.dump import Snapshot
from cutaway.dump.query.fields import dtypes
from cutaway.dump.query.fold import op_text, type_texts
from cutaway.dump.schema import NodeTable
from cutaway.errors import DumpError
from cutaway.web.data import shapes
from cutaway.web.data.graph import owner_of
from cutaway.web.data.process import Process
from cutaway.web.data.words import cut

MOST = 2_000_000
"""Nodes in the table; what comes after them is left out."""
_COLUMNS = [name for name in shapes.SearchColumns.__struct_fields__ if name not in ("graph", "node")]


def search(process: Process) -> shapes.SearchTable:
    """The table that is searched as one types.

    Args:
        process: what was recorded; graphs that cannot be read are left out.
    """
    return _Table().fill(process)


class _Table:
    """Collects nodes; strings that many have are kept once."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {}
        self._columns: dict[str, list[int]] = {name: [] for name in _COLUMNS}
        self._graph: list[int] = []
        self._node: list[int] = []

    def fill(self, process: Process) -> shapes.SearchTable:
        graphs: list[shapes.SearchGraph] = []
        for fingerprint, snapshots in process.graphs.items():
            if len(self._node) >= MOST:
                break
            try:
                owner = owner_of(snapshots)
                table = process.dump.table(owner)[0]
                kernels = _kernels(process, snapshots)
            except DumpError:
                continue
            self._add(len(graphs), table, owner, kernels)
            graphs.append(shapes.SearchGraph(fingerprint, [snapshot.selector for snapshot in snapshots]))
        columns = shapes.SearchColumns(graph=self._graph, node=self._node, **self._columns)
        return shapes.SearchTable(list(self._strings), graphs, columns)

    def _index(self, text: str | None) -> int:
        if not text:
            return -1
        return self._strings.setdefault(text if len(text) <= 1000 else cut(text, 1000), len(self._strings))

    def _add(self, number: int, table: NodeTable, owner: Snapshot, kernels: dict[str, str]) -> None:
        index = self._index
        layers = [path[-1].rpartition(": ") if path else ("", "", "") for path in table.layers]
        places = [(index(fqn), index(cls)) for fqn, _, cls in layers]
        sources = [
            (index(f"{s.file}:{s.line} {s.function}".strip() if s.file else ""), index(s.code)) for s in table.sources
        ]
        providers = owner.providers
        columns = self._columns
        for node in table.nodes:
            self._graph.append(number)
            self._node.append(node.id)
            layer, cls = places[node.layer] if node.layer is not None else (-1, -1)
            source, code = sources[node.source] if node.source is not None else (-1, -1)
            columns["name"].append(index(node.name))
            columns["op"].append(index(op_text(node)))
            columns["target"].append(index(node.input if node.op == "placeholder" and node.input else node.target))
            columns["layer"].append(layer)
            columns["cls"].append(cls)
            columns["dtype"].append(index(", ".join(dict.fromkeys(dtypes(node)))))
            columns["type"].append(index(type_texts(node)))
            columns["source"].append(source)
            columns["code"].append(code)
            columns["provider"].append(index(providers.get(node.name) or node.provider))
            columns["kernel"].append(index(kernels.get(node.name)))


def _kernels(process: Process, snapshots: list[Snapshot]) -> dict[str, str]:
    """Node name -> kernels that it is in, of the first of these whose code says so."""
    for snapshot in snapshots:
        found = process.kernels.of(snapshot)
        if found:
            return {name: ", ".join(sorted(those)) for name, those in found.items()}
    return {}
