"""What can be asked of a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cutaway.dump.query.glob import glob, is_glob
from cutaway.dump.query.parse import WORD
from cutaway.dump.query.shape import shape_test
from cutaway.dump.query.view import View
from cutaway.dump.schema import Node, NodeTable, Output
from cutaway.record.layers.words import short_dtype, short_target

NodeTest = Callable[[Node, NodeTable], bool]
PlaceTest = Callable[[Node, NodeTable, View], bool]
ViewTest = Callable[[View], bool]

CALLS = ("call_function", "call_method", "call_module")
_LINE = re.compile(r"(.*):(\d+)(?:-(\d+))?\Z", re.DOTALL)


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        help: what it is about, for a list of fields.
        node: makes the test of a value for fields that the graph alone decides; it is made once for each graph.
        place: the same for fields that depend on where the graph stands: a repeated piece has its own layers.
        view: the same for fields of the snapshot, for which no graph is read.
    """

    help: str
    node: Callable[[str], NodeTest] | None = None
    place: Callable[[str], PlaceTest] | None = None
    view: Callable[[str], ViewTest] | None = None


def op_test(value: str) -> NodeTest:
    """The operator, by its name or parts of it in a row (`mm`, `aten.mm`, `ir.rms_norm`); or the kind of node."""
    matches, row, globbed = glob(value), f".{value.lower()}.", is_glob(value)
    known: dict[str, bool] = {}

    def fits(name: str) -> bool:
        if name not in known:
            parts = any(map(matches, name.split("."))) if globbed else row in f".{name.lower()}."
            known[name] = parts or matches(name)
        return known[name]

    return lambda node, _: matches(node.op) or any(map(fits, op_names(node)))


def op_names(node: Node) -> Iterator[str]:
    """What an operator is called: in full and as people say it; an operator that is called by another counts, too."""
    if node.op not in CALLS:
        return
    yield node.target
    yield short_target(node.target)
    inner = node.args[0] if node.args and "functionalized" in node.target else None
    if isinstance(inner, dict) and isinstance(inner.get("repr"), str):
        yield inner["repr"]


def dtype_test(value: str) -> NodeTest:
    """The dtype of a value, as torch writes it or in short."""
    matches = glob(value.removeprefix("torch."))
    return lambda node, _: any(matches(dtype) or matches(short_dtype(dtype)) for dtype in dtypes(node))


def dtypes(node: Node) -> list[str]:
    """The dtypes of a node's values."""
    found = [described.dtype for described in _described(node)]
    return [dtype for dtype in found if dtype is not None]


def shapes(node: Node) -> list[Sequence[int | str]]:
    """The shapes of a node's values."""
    found = [described.shape for described in _described(node)]
    return [shape for shape in found if shape is not None]


def _shape(value: str) -> NodeTest:
    matches = shape_test(value)
    return lambda node, _: any(map(matches, shapes(node)))


def _device(value: str) -> NodeTest:
    matches, prefix = glob(value), f"{value.lower()}:"
    return lambda node, _: any(
        matches(described.device) or described.device.lower().startswith(prefix)
        for described in _described(node)
        if described.device is not None
    )


def source_test(value: str) -> NodeTest:
    """The line of Python: a file, `file:line`, `file:first-last`, a function, or a part of the line itself."""
    numbered = _LINE.match(value)
    name = numbered[1] if numbered else value
    low = int(numbered[2]) if numbered else None
    high = int(numbered[3] or numbered[2]) if numbered else None
    in_file, below, in_code = glob(name), glob(f"*/{name}"), glob(f"*{value}*")

    def test(node: Node, table: NodeTable) -> bool:
        source = table.source(node)
        if source is None:
            return False
        file = in_file(source.file) or below(source.file)
        if low is not None and high is not None:
            return (file and low <= source.line <= high) or in_code(source.code)
        return file or in_file(source.function) or in_code(source.code)

    return test


def _layer(value: str) -> PlaceTest:
    matches = glob(value, numbers=True)
    known: dict[str, bool] = {}

    def fits(layer: str) -> bool:
        if layer not in known:
            fqn, _, cls = layer.rpartition(": ")
            known[layer] = matches(fqn) or matches(cls)
        return known[layer]

    return lambda node, table, view: any(map(fits, view.path(node, table)))


def _name(value: str) -> PlaceTest:
    matches = glob(value, numbers=True)
    return lambda node, _, view: matches(node.name) or (bool(node.input) and matches(view.input(node)))


def _word(value: str) -> PlaceTest:
    matches = glob(f"*{value}*")
    return lambda node, _, view: (
        matches(node.name) or any(map(matches, op_names(node))) or (bool(node.input) and matches(view.input(node)))
    )


def _provider(value: str) -> PlaceTest:
    matches = glob(value)
    return lambda node, _, view: matches(view.provider(node)) if view.provider(node) else False


def _stage(value: str) -> ViewTest:
    matches = glob(value)
    return lambda view: any(map(matches, (view.snapshot.stage, view.stage, view.snapshot.pass_name or "")))


def _piece(value: str) -> ViewTest:
    matches = glob(value, numbers=True)
    return lambda view: (
        view.piece is not None
        and (matches(view.piece) or matches(view.piece.removeprefix("piece_").lstrip("0") or "0"))
    )


def _of(get: Callable[[View], Any]) -> Callable[[str], ViewTest]:
    def make(value: str) -> ViewTest:
        matches = glob(value)
        return lambda view: matches(str(get(view) or ""))

    return make


def _described(node: Node) -> Iterator[Node | Output]:
    """A node and all of its values."""
    yield node
    inner = list(node.outputs or ())
    while inner:
        output = inner.pop()
        yield output
        inner += output.outputs or ()


FIELDS: dict[str, Field] = {
    "op": Field("operator: rms_norm, aten.mm, ir.*; or placeholder, get_attr, output", node=op_test),
    "layer": Field("layer of the model, and all below it: layers.3, layers.0-3.*, *.mlp; or its class", place=_layer),
    "dtype": Field("dtype of a value: bf16, float8*", node=dtype_test),
    "shape": Field("[s*, 256], [..., 64], [>=1024, *]; without brackets: any of the sizes", node=_shape),
    "device": Field("device of a value: cuda, cpu", node=_device),
    "source": Field("file, file:line, function or text of the line of Python that it comes from", node=source_test),
    "provider": Field("who implements the operator, or will", place=_provider),
    "kernel": Field("kernel that it became a part of"),
    "pass": Field("pass that made, changed or removed it, or what it was made of, or what became of it"),
    "stage": Field("stage, or pass after which the graph is seen: captured, post_grad, *Lowering*", view=_stage),
    "piece": Field("piece of the split graph: piece_02 or 2", view=_piece),
    "range": Field("compile range: 1_4096, 8_8", view=_of(lambda view: view.snapshot.range)),
    "phase": Field("inference, forward or backward", view=_of(lambda view: view.snapshot.phase)),
    "compilation": Field("compilation: backbone", view=_of(lambda view: view.snapshot.compilation)),
    "name": Field("name of the node, or model path of a weight", place=_name),
    WORD: Field("", place=_word),
}
"""Field -> how to test it. Kernels and passes are found for a whole dump at a time: `search` does it."""
