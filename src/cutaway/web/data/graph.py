"""A graph with all its nodes, and what is a snapshot's own of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cutaway.dump import Snapshot
from cutaway.dump.diff.inside import graphs_taken
from cutaway.dump.diff.result import op_name, providers_of
from cutaway.dump.schema import Node, NodeTable, Output, Symbol
from cutaway.errors import DumpError, SelectorError
from cutaway.record.layers.rows import Graph, Row
from cutaway.record.layers.words import ITEM_SIZES
from cutaway.web.data import shapes
from cutaway.web.data.process import Process
from cutaway.web.data.words import NAME, bounded, cut, cut_or_none
from cutaway.web.data.writes import reads_after_writes


def graph(process: Process, fingerprint: str) -> shapes.Graph:
    """A graph, under the names of the snapshot that holds it.

    Args:
        process: what was recorded.
        fingerprint: which graph.

    Raises:
        SelectorError: no snapshot has it.
        DumpError: it cannot be read.
    """
    snapshots = process.graphs.get(fingerprint)
    if not snapshots:
        raise SelectorError(f"no graph {cut(fingerprint, NAME)!r} in this dump", "", "take one from a step's `graph`")
    owner = owner_of(snapshots)
    table, plain = process.dump.table(owner)
    rows = Graph(bounded(plain), {}, {}, None)
    known = providers_of(owner)
    return shapes.Graph(
        fingerprint=fingerprint,
        symbols={name: _symbol(symbol) for name, symbol in table.symbols.items()},
        layers=_layers(table),
        sources=_sources(table),
        nodes=_nodes(table, rows, known),
        inside=list(_inside(table, rows)),
    )


def _layers(table: NodeTable) -> list[list[str]]:
    return [[cut(layer) for layer in path] for path in table.layers]


def _sources(table: NodeTable) -> list[shapes.SourceLine]:
    return [shapes.SourceLine(cut(s.file), s.line, cut(s.function), cut(s.code)) for s in table.sources]


def _nodes(table: NodeTable, rows: Graph, known: Mapping[str, str]) -> list[shapes.GraphNode]:
    after = reads_after_writes(table)
    return [_node(node, table, rows, known, after.get(node.id, [])) for node in table.nodes]


def _inside(table: NodeTable, rows: Graph) -> Iterator[shapes.InnerGraph]:
    """The graphs inside a graph, and those inside of them."""
    waiting: list[tuple[int | None, NodeTable, Graph]] = [(None, table, rows)]
    count = 0
    while waiting:
        around, outer, outer_rows = waiting.pop(0)
        nodes = {node.id: node for node in outer.nodes}
        taken: dict[str, Node] = {}
        for node in outer.nodes:
            for name in graphs_taken(node, nodes, outer):
                taken.setdefault(name, node)
        for name, inner in outer.graphs.items():
            by = taken.get(name)
            waiting.append((count, inner, outer_rows.graphs[name]))
            count += 1
            yield shapes.InnerGraph(
                name=cut(name, NAME),
                around=around,
                taken_by=by.id if by is not None else None,
                operands=_operands(by, inner) if by is not None else [],
                layers=_layers(inner),
                sources=_sources(inner),
                nodes=_nodes(inner, outer_rows.graphs[name], {}),
            )


def _operands(node: Node, inner: NodeTable) -> list[int | None]:
    """What comes in at the inputs of a graph that a node takes; empty for operators that are not known here."""
    first = {"higher_order.cond": 3, "higher_order.while_loop": 2}.get(node.target)
    values: list[Any] = []
    for arg in node.args[first:] if first is not None else ():
        values += arg.get("tuple", []) if isinstance(arg, dict) else arg if isinstance(arg, list) else []
    if len(values) != sum(each.op == "placeholder" for each in inner.nodes):
        return []
    numbers = [value.get("node") if isinstance(value, dict) else None for value in values]
    return [number if isinstance(number, int) else None for number in numbers]


def owner_of(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The snapshot that holds the graph of these, which all have the same. Raises DumpError when none does."""
    problem: DumpError | None = None
    for snapshot in snapshots:
        try:
            return snapshot.owner
        except DumpError as error:
            problem = problem or error
    raise problem or DumpError("no snapshot has this graph")


def _symbol(symbol: Symbol) -> shapes.SymbolRange:
    return shapes.SymbolRange(symbol.min, symbol.max, symbol.hint, cut_or_none(symbol.source))


def _node(
    node: Node, table: NodeTable, rows: Graph, providers: Mapping[str, str], after: list[int]
) -> shapes.GraphNode:
    row = rows.rows[node.id]
    return shapes.GraphNode(
        id=node.id,
        name=cut(node.name),
        op=node.op,
        target=cut(node.target),
        short=cut(op_name(node.op, node.target)),
        text=written(rows, row),
        inputs=list(dict.fromkeys(row.refs)),
        after=after,
        type=cut(row.type),
        dtype=node.dtype,
        shape=node.shape,
        device=node.device,
        layer=node.layer,
        source=node.source,
        input=cut_or_none(node.input),
        provider=providers.get(node.name) or node.provider,
        bytes=_bytes(node, table.symbols),
    )


def written(rows: Graph, row: Row) -> str:
    """A node's right-hand side: with the names of other nodes, a weight by its path below the layer that uses it."""
    layer = f"{row.path[-1][0]}." if row.path and row.path[-1][0] else ""

    def name(other: Row) -> str:
        return cut(other.weight.removeprefix(layer) if other.weight else other.name, NAME)

    return cut(rows.written(row, name))


def _bytes(value: Node | Output, symbols: Mapping[str, Symbol]) -> int | None:
    """How much memory a value takes, symbols as large as when they were captured; None where that is not known."""
    if value.outputs:
        sizes = [_bytes(each, symbols) for each in value.outputs if each.dtype is not None or each.outputs]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) and known else None
    item = ITEM_SIZES.get(value.dtype or "")
    if item is None or value.shape is None:
        return None
    for size in value.shape:
        length = _length(size, symbols)
        if length is None or item > 1 << 80:
            return None
        item *= length
    return item


def _length(size: Any, symbols: Mapping[str, Symbol]) -> int | None:
    """A size as a number: a symbol, or a product of symbols and numbers, such as `64*s72`."""
    if isinstance(size, int):
        return size
    length = 1
    for part in str(size).split("*"):
        part = part.strip()
        symbol = symbols.get(part)
        if part.isdecimal() and len(part) < 20:
            length *= int(part)
        elif symbol is not None and symbol.hint is not None:
            length *= symbol.hint
        else:
            return None
    return length


def snapshot(process: Process, selector: str) -> shapes.Snapshot:
    """What is a snapshot's own: names of layers, origins, providers, kernels.

    Args:
        process: what was recorded.
        selector: the snapshot, or a part of its selector.

    Raises:
        SelectorError: there is no such snapshot.
        DumpError: its graph cannot be read.
    """
    found = process.snapshot(selector)
    before = process.before(found)
    origins = process.trail.origins(found)
    ids = {node.name: node.id for node in process.trail.table(found).nodes}
    kernels = process.kernels.of(found)
    known = {str(ids[name]): sorted(those) for name, those in kernels.items() if name in ids}
    return shapes.Snapshot(
        selector=found.selector,
        graph=found.graph,
        before=before.selector if before is not None else None,
        layer_map=found.layer_map,
        origins=[sorted(each) for each in origins] if origins is not None and any(origins) else None,
        providers=dict(providers_of(found)),
        kernels=known,
        donated_inputs=found.donated_inputs,
    )
