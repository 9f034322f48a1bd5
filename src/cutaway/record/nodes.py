"""FX graph -> node table: what one graph is, as plain JSON values that need no torch to be read.

The form is documented in docs/dump-format.md. A table is built in one walk over the graph; expressions of
symbolic sizes are printed once each, because printing them is what costs.
Nothing here compares a symbolic size with anything: that would add a guard to the compile that is watched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.names import TORCH_FILES, Path, Source, input_path, layer_path, target_name, users_frame
from cutaway.record.values import node_value

Table = dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What is known of a node from the previous snapshot.

    Attributes:
        ids: the nodes there that it stems from.
        layer, source, input: what they say of layer, line of Python and model path: for a node that does not say it.
        sure: they are right even where the node says otherwise.
    """

    ids: tuple[int, ...] = ()
    layer: Path | None = None
    source: Source | None = None
    input: str | None = None
    sure: bool = False


@dataclass
class TableBuilder:
    """Builds node tables; keeps printed expressions between graphs, because a compile shares its symbols.

    Attributes:
        library_files: parts of file names that are not the user's code; a node's source is its innermost frame
            outside of them (torch's own are always among them).
    """

    library_files: tuple[str, ...] = ()
    _text: dict[Any, str] = field(default_factory=dict)
    _frames: dict[str, Source | None] = field(default_factory=dict)
    _targets: dict[Any, str] = field(default_factory=dict)

    def build(
        self,
        gm: fx.GraphModule,
        origins: Mapping[fx.Node, Origin] | None = None,
        root: str | None = None,
        captured: bool = False,
    ) -> Table:
        """The table of one graph (nested graphs included), without its fingerprint.

        Args:
            gm: the graph; it is only read.
            origins: what is known of each node from the previous snapshot of the same graph.
            root: class of the compiled module, which Dynamo leaves out of the layers that it notes.
            captured: whether this is Dynamo's own graph: there, a call without a layer is in the root itself.
        """
        table = _OneTable(self, gm, origins or {}, root, captured).build()
        symbols = table.pop("_symbols")
        shape_env = torch_internals.shape_env_of(gm)
        table["symbols"] = {
            str(symbol): torch_internals.symbol_facts(shape_env, symbol) if shape_env is not None else {}
            for symbol in sorted(symbols, key=str)
        }
        return table

    def forget(self) -> None:
        """Let go what was kept of a compile's symbols and operators."""
        for kept in (self._text, self._frames, self._targets):
            kept.clear()

    def text(self, size: Any, symbols: set[Any]) -> int | str:
        """A size as a number, or as the text of its expression."""
        if isinstance(size, int):
            return int(size)
        expr = torch_internals.expression(size)
        free: set[Any] = getattr(expr, "free_symbols", set())
        symbols.update(free)
        if not free:
            return int(expr) if getattr(expr, "is_Integer", False) else str(expr)
        known = self._text.get(expr)
        if known is None:
            known = self._text[expr] = str(expr)
        return known

    def target(self, target: Any) -> str:
        """See :func:`cutaway.record.names.target_name`."""
        if isinstance(target, str):
            return target
        known = self._targets.get(target)
        if known is None:
            known = self._targets[target] = target_name(target)
        return known

    def frame(self, stack_trace: str | None) -> Source | None:
        """File, line, function and code line of the line that a node's stack trace is about."""
        if not stack_trace:
            return None
        if stack_trace not in self._frames:
            self._frames[stack_trace] = users_frame(stack_trace, (TORCH_FILES, *self.library_files))
        return self._frames[stack_trace]


class _OneTable:
    """The walk over one graph: interned layers and sources, ids, and the arguments encoded."""

    def __init__(
        self,
        builder: TableBuilder,
        gm: fx.GraphModule,
        origins: Mapping[fx.Node, Origin],
        root: str | None = None,
        captured: bool = False,
    ) -> None:
        self.builder = builder
        self.gm = gm
        self.origins = origins
        self.root = root
        self.captured = captured
        self.ids: dict[fx.Node, int] = {}
        self.layers: dict[Path, int] = {}
        self.sources: dict[Source, int] = {}
        self.symbols: set[Any] = set()
        self.graphs: dict[str, Table] = {}

    def build(self) -> Table:
        nodes = [self.row(index, node) for index, node in enumerate(self.gm.graph.nodes)]
        table: Table = {
            "layers": [list(path) for path in self.layers],
            "sources": [
                dict(zip(("file", "line", "function", "code"), source, strict=True)) for source in self.sources
            ],
            "nodes": nodes,
            "_symbols": self.symbols,
        }
        if self.graphs:
            table["graphs"] = self.graphs
        return table

    def row(self, index: int, node: fx.Node) -> dict[str, Any]:
        self.ids[node] = index
        row: dict[str, Any] = {
            "id": index,
            "name": node.name,
            "op": node.op,
            "target": self.builder.target(node.target),
        }
        if node.args:
            row["args"] = [self.argument(value) for value in node.args]
        if node.kwargs:
            row["kwargs"] = {key: self.argument(value) for key, value in node.kwargs.items()}
        value = node_value(node)
        if node.op == "placeholder":
            known = self.origins.get(node)
            row["input"] = (known.input if known else None) or input_path(node)
        elif node.op in ("get_attr", "call_module"):
            self.attribute(node, row)
        self.describe(value, row)
        self.place(node, row)
        return row

    def place(self, node: fx.Node, row: dict[str, Any]) -> None:
        origin = self.origins.get(node)
        layer = self.layer(node)
        source = self.builder.frame(node.meta.get("stack_trace"))
        if origin is not None:
            layer = (origin.sure and origin.layer) or layer or origin.layer
            source = (origin.sure and origin.source) or source or origin.source
            if origin.ids:
                row["from"] = list(origin.ids)
        if layer:
            row["layer"] = self.layers.setdefault(layer, len(self.layers))
        if source:
            row["source"] = self.sources.setdefault(source, len(self.sources))

    def layer(self, node: fx.Node) -> Path | None:
        """The node's own layer path (in a backward, that of its forward), the compiled module's class first."""
        if node.op in ("placeholder", "output"):
            return None
        path = layer_path(node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack"))
        if path and self.root and ": " in path[0]:
            return (self.root, *path)
        if path is None and self.captured and self.root and node.op.startswith("call_"):
            return (self.root,)
        return path

    def describe(self, value: Any, row: dict[str, Any]) -> None:
        if isinstance(value, torch.Tensor):
            row.update(self.tensor(value))
        elif isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            row["dtype"] = type(value).__name__
            row["value"] = self.builder.text(value, self.symbols)
        elif isinstance(value, (list, tuple)) and value:
            row["outputs"] = [self.output(part) for part in value]
        elif value is not None and not isinstance(value, (bool, int, float, str, list, tuple, dict)):
            row["repr"] = opaque_text(value)

    def output(self, value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.describe(value, found)
        return found

    def tensor(self, value: torch.Tensor) -> dict[str, Any]:
        text, symbols = self.builder.text, self.symbols
        found: dict[str, Any] = {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": [text(size, symbols) for size in value.shape],
            "device": str(value.device),
        }
        if value.layout is torch.strided:
            found["stride"] = [text(size, symbols) for size in value.stride()]
            offset = text(value.storage_offset(), symbols)
            if offset != 0:
                found["offset"] = offset
        if value.requires_grad:
            found["requires_grad"] = True
        return found

    def attribute(self, node: fx.Node, row: dict[str, Any]) -> None:
        target = str(node.target)
        try:
            held: Any = self.gm
            for part in target.split("."):
                held = getattr(held, part)
        except AttributeError:
            return
        if isinstance(held, fx.GraphModule):
            if node.op == "get_attr" and target not in self.graphs:
                nested = _OneTable(self.builder, held, {})
                self.graphs[target] = nested.build()
                self.symbols |= self.graphs[target].pop("_symbols")
        elif isinstance(held, torch.Tensor):
            row["constant"] = self.tensor(held) | {"digest": constant_digest(held)}
        else:
            row["constant"] = {"repr": type(held).__qualname__}

    def argument(self, value: Any) -> Any:
        """One argument in the table's JSON form (docs/dump-format.md, "Arguments")."""
        if isinstance(value, fx.Node):
            return {"node": self.ids[value]}
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            parts = [self.argument(part) for part in value]
            return parts if isinstance(value, list) else {"tuple": parts}
        if isinstance(value, Mapping):
            return {"dict": [[self.argument(key), self.argument(part)] for key, part in value.items()]}
        if isinstance(value, slice):
            return {"slice": [self.argument(part) for part in (value.start, value.stop, value.step)]}
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return {"sym": str(self.builder.text(value, self.symbols))}
        if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
            return {"torch": str(value)}
        if isinstance(value, torch.device):
            return {"torch": f"device({str(value)!r})"}
        return {"repr": self.builder.target(value) if callable(value) else repr(value)}


def constant_digest(value: torch.Tensor) -> str | None:
    """Digest of a small constant's bytes, so that graphs which differ only in a constant differ."""
    content = torch_internals.tensor_constant(value)
    return None if content is None else blake2b(content, digest_size=8).hexdigest()


def opaque_text(value: Any) -> str:
    """What an input that is no tensor is: ``LayerName('model.layers.0.attn')``, or its class."""
    value = torch_internals.opaque_value(value)
    expression = torch_internals.opaque_expression(value)
    return expression[0] if expression else type(value).__qualname__
