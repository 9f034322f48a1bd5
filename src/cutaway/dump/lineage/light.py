"""Node tables as far as lineage needs them: names, operators, layers, sources and origins, without arguments.

Reading one so takes a tenth of the time that the whole takes, and a whole graph of 80 layers has 7000 nodes.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from cutaway.dump.manifest import check_schema
from cutaway.dump.schema import SCHEMA, Size, Source
from cutaway.dump.snapshot import Snapshot, announced
from cutaway.errors import DumpError
from cutaway.record.layers.words import short_target, type_text

CALLS = ("call_function", "call_method", "call_module")
_KINDS = {"placeholder": "input", "get_attr": "constant", "output": "output"}


class LightNode(Struct, omit_defaults=True):
    """A node; its fields are those of `cutaway.dump.schema.Node`, what is seldom asked for as it was written."""

    id: int
    name: str
    op: str
    target: str
    args: Raw = Raw()
    dtype: str | None = None
    shape: list[Size] | None = None
    value: Size | None = None
    outputs: Raw = Raw()
    layer: int | None = None
    source: int | None = None
    origins: list[int] = field(default_factory=list, name="from")
    input: str | None = None

    @property
    def is_call(self) -> bool:
        return self.op in CALLS

    @property
    def operator(self) -> str:
        """What it calls, as people say it: `aten.mm`, `.view`, `auto_functionalized(_C.onednn_mm)`."""
        if self.op in _KINDS:
            return _KINDS[self.op]
        if self.op != "call_function":
            return f".{self.target}" if self.op == "call_method" else f"self.{self.target}"
        if not self.target.startswith("higher_order."):
            return short_target(self.target)
        args = _decoded(self.args)
        inner = args[0] if isinstance(args, list) and args else None
        held = inner.get("repr") if isinstance(inner, dict) else None
        short = self.target.removeprefix("higher_order.")
        return f"{short}({short_target(held)})" if isinstance(held, str) and "." in held else short

    @property
    def type(self) -> str:
        """Dtype and shape of its value: `f32[s72, 256]`; of all of them where it has several."""
        outputs = _decoded(self.outputs)
        if not isinstance(outputs, list):
            return _type({"dtype": self.dtype, "shape": self.shape, "value": self.value})
        return f"({', '.join(_type(each) if isinstance(each, dict) else '_' for each in outputs)})"


class LightTable(Struct):
    """A graph; ids are indices."""

    nodes: list[LightNode]
    schema: int = SCHEMA
    layers: list[list[str]] = []
    sources: list[Source] = []

    @property
    def results(self) -> list[int]:
        """Ids of the nodes that it returns, in order."""
        found: list[int] = []
        waiting: list[Any] = [_decoded(node.args) for node in reversed(self.nodes) if node.op == "output"]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict) and isinstance(value.get("node"), int):
                found += [value["node"]] if 0 <= value["node"] < len(self.nodes) else []
            elif isinstance(value, dict):
                waiting += value.values()
            elif isinstance(value, list):
                waiting += reversed(value)
        return found

    def source(self, node: LightNode) -> Source | None:
        """The line of Python that a node says it comes from; None when it does not."""
        return None if node.source is None else self.sources[node.source]

    def path(self, node: LightNode) -> tuple[str, ...]:
        """The node's layers as "fqn: class", outermost first; empty when unknown."""
        return () if node.layer is None else tuple(self.layers[node.layer])


_DECODER = msgspec.json.Decoder(LightTable)


def read_light(snapshot: Snapshot) -> LightTable:
    """The nodes of a snapshot, under the names of the one that holds its graph. Raises DumpError."""
    path = announced(snapshot.owner, "nodes").path
    try:
        table = _DECODER.decode(snapshot.dump.read(path))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _broken(path, str(error)) from error
    check_schema(table.schema)
    for number, node in enumerate(table.nodes):
        if node.id != number:
            raise _broken(path, f"node {node.name!r} has the id {node.id}, and is number {number}")
        if node.layer is not None and not 0 <= node.layer < len(table.layers):
            raise _broken(path, f"node {node.name!r} is in layer {node.layer}, which the table does not have")
        if node.source is not None and not 0 <= node.source < len(table.sources):
            raise _broken(path, f"node {node.name!r} comes from source {node.source}, which the table does not have")
    return table


def _broken(path: str, why: str) -> DumpError:
    return DumpError(f"{path!r} is no node table", why, "run `cutaway verify` to see what else is wrong")


def _decoded(raw: Raw) -> Any:
    """The value of a part that was not decoded yet; None for nothing, or what nests too deep."""
    try:
        return msgspec.json.decode(raw) if len(raw) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _type(value: dict[str, Any]) -> str:
    shape = value.get("shape")
    known = {"dtype": value.get("dtype"), "shape": shape if isinstance(shape, list) else None}
    if not isinstance(known["dtype"], str):
        return "_" if "dtype" not in value else ""
    return type_text({**known, "stride": None, "device": None, "value": value.get("value")}, "")
