"""A dump as tables for pandas: nodes, snapshots, passes or kernels, one a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from cutaway.dump import schema
from cutaway.dump.arguments import references
from cutaway.dump.compilation import Compilation
from cutaway.dump.schema import Node, NodeTable
from cutaway.dump.select import matching, unknown
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.errors import UsageError
from cutaway.record.layers.words import short_target

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]


class Recorded(Protocol):
    """What is asked of a dump here."""

    compilations: dict[str, Compilation]
    snapshots: dict[str, Snapshot]
    codes: dict[str, Code]


def to_frame(dump: Recorded, table: str, selector: str | None = None) -> DataFrame:
    """See `Dump.to_frame`."""
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise UsageError(
            "to_frame needs pandas",
            "it is not installed" if isinstance(error, ModuleNotFoundError) else str(error),
            "pip install pandas",
        ) from error
    if table not in TABLES:
        near = get_close_matches(table, TABLES, 1)
        cure = f"did you mean {near[0]!r}" if near else ""
        raise UsageError(f"there is no table {table!r}", f"there are {', '.join(TABLES)}", cure)
    make, columns = TABLES[table]
    wanted = None if selector is None else _wanted(dump, selector)
    rows = list(make(dump, wanted))
    return pandas.DataFrame({name: [row[name] for row in rows] for name in columns}, columns=list(columns))


def _wanted(dump: Recorded, selector: str) -> frozenset[str]:
    """The selectors that a part of one means. Raises SelectorError when there are none."""
    passes = [step.selector for compilation in dump.compilations.values() for step in compilation.passes]
    known = [*dump.snapshots, *dump.codes, *passes]
    found = matching(selector, known)
    if not found:
        raise unknown(selector, known)
    return frozenset(found)


_STEP = ("compilation", "selector", "stage", "phase", "piece", "range")
_RAN = (*_STEP, "pass", "number", "changed", "nodes", "ops_delta", "ms")


def _step(step: Snapshot | schema.PassRan | Code) -> Row:
    stage = step.kind if isinstance(step, Code) else step.stage
    return {
        "compilation": step.compilation,
        "selector": step.selector,
        "stage": stage,
        "phase": step.phase,
        "piece": step.piece,
        "range": step.range,
    }


def _ran(step: Snapshot | schema.PassRan) -> Row:
    return {
        **_step(step),
        "pass": step.pass_name,
        "number": step.number,
        "changed": step.changed,
        "nodes": step.node_count,
        "ops_delta": step.ops_delta,
        "ms": step.ms,
    }


def _passes(dump: Recorded, wanted: frozenset[str] | None) -> Iterator[Row]:
    for compilation in dump.compilations.values():
        yield from (_ran(step) for step in compilation.passes if wanted is None or step.selector in wanted)


_OF_SNAPSHOT = (
    "graph",
    "same_as",
    "cached",
    "bytes",
    "layers",
    "donated_inputs",
    "with_layer",
    "with_source",
    "with_origin",
)


def _snapshots(dump: Recorded, wanted: frozenset[str] | None) -> Iterator[Row]:
    for snapshot in dump.snapshots.values():
        if wanted is not None and snapshot.selector not in wanted:
            continue
        yield {
            **_ran(snapshot),
            "graph": snapshot.graph,
            "same_as": snapshot.same_as,
            "cached": snapshot.cached,
            "bytes": sum(file.bytes for file in snapshot.files),
            "layers": snapshot.layers,
            "donated_inputs": snapshot.donated_inputs,
            **{f"with_{what}": snapshot.coverage.get(what) for what in ("layer", "source", "origin")},
        }


_OF_NODE = (
    "pass",
    "graph",
    "same_as",
    "id",
    "name",
    "op",
    "target",
    "short",
    "dtype",
    "shape",
    "stride",
    "device",
    "value",
    "layer",
    "class",
    "file",
    "line",
    "function",
    "code",
    "provider",
    "input",
    "reads",
    "from",
)


def _nodes(dump: Recorded, wanted: frozenset[str] | None) -> Iterator[Row]:
    for snapshot in dump.snapshots.values():
        if wanted is not None and snapshot.selector not in wanted:
            continue
        table = snapshot.table
        home = {**_step(snapshot), "pass": snapshot.pass_name, "graph": snapshot.graph, "same_as": snapshot.same_as}
        for node in table.nodes:
            yield {**home, **_node(node, table, snapshot.owner.providers)}


def _node(node: Node, table: NodeTable, providers: Mapping[str, str]) -> Row:
    fqn, _, cls = table.layer(node)[-1].rpartition(": ") if table.layer(node) else (None, "", None)
    source = table.source(node)
    return {
        "id": node.id,
        "name": node.name,
        "op": node.op,
        "target": node.target,
        "short": short_target(node.target) if node.op.startswith("call_") else None,
        "dtype": node.dtype,
        "shape": node.shape,
        "stride": node.stride,
        "device": node.device,
        "value": node.value,
        "layer": fqn,
        "class": cls,
        "file": source.file if source else None,
        "line": source.line if source else None,
        "function": source.function if source else None,
        "code": source.code if source else None,
        "provider": providers.get(node.name) or node.provider,
        "input": node.input,
        "reads": list(dict.fromkeys(references([*node.args, *node.kwargs.values()]))),
        "from": node.origins,
    }


_OF_KERNEL = ("kernel", "call", "computes", "file", "bytes", "same_as", "cached")


def _kernels(dump: Recorded, wanted: frozenset[str] | None) -> Iterator[Row]:
    texts = {(code.compilation, code.piece, code.range, code.phase, _leaf(code)): code for code in dump.codes.values()}
    for code in dump.codes.values():
        if code.kind != "output_code" or (wanted is not None and code.selector not in wanted):
            continue
        for call, nodes in code.kernels.items():
            kernel, _, number = call.partition("#")
            text = texts.get((code.compilation, code.piece, code.range, code.phase, kernel))
            home = text.owner if text else None
            yield {
                **_step(code),
                "kernel": kernel,
                "call": int(number) if number.isdecimal() and len(number) < 9 else 1,
                "computes": nodes,
                "file": next((file.path for file in home.files), None) if home else None,
                "bytes": next((file.bytes for file in home.files), None) if home else None,
                "same_as": code.same_as,
                "cached": code.cached,
            }


def _leaf(code: Code) -> str:
    return code.selector.rpartition("/")[2]


_Make = Callable[[Recorded, "frozenset[str] | None"], Iterator[Row]]

TABLES: dict[str, tuple[_Make, Sequence[str]]] = {
    "nodes": (_nodes, (*_STEP, *_OF_NODE)),
    "snapshots": (_snapshots, (*_RAN, *_OF_SNAPSHOT)),
    "passes": (_passes, _RAN),
    "kernels": (_kernels, (*_STEP, *_OF_KERNEL)),
}
"""Name -> what makes the rows, and the columns in order."""
