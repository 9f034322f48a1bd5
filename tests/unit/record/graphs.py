"""fx graphs made by hand: from a description that hypothesis can draw, or one call after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import fx
from torch._dynamo.source import ConstantSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from cutaway.record.fingerprint import fingerprint
from cutaway.record.nodes import Table, TableBuilder

aten = torch.ops.aten
OPS = {
    "add": aten.add.Tensor,
    "sub": aten.sub.Tensor,
    "mul": aten.mul.Tensor,
    "mm": aten.mm.default,
    "gelu": torch.nn.functional.gelu,
    "cat": torch.cat,
}
DTYPES = ("float32", "bfloat16", "int64")


@dataclass(frozen=True)
class Input:
    """A tensor: its dtype, its sizes (a letter is a symbol), and whether its last two dimensions are swapped."""

    dtype: str
    sizes: tuple[int | str, ...]
    transposed: bool = False


@dataclass(frozen=True)
class Call:
    """A call of one of `OPS` on two earlier nodes (by position), with a constant."""

    op: str
    left: int
    right: int
    constant: int | float | bool


@dataclass(frozen=True)
class Spec:
    """A graph: everything that a fingerprint is to depend on."""

    inputs: tuple[Input, ...]
    calls: tuple[Call, ...]


@st.composite
def specs(draw: st.DrawFn, symbols: str = "a") -> Spec:
    """Random small graphs."""
    size = st.integers(2, 9) | st.sampled_from(symbols)
    inputs = st.builds(Input, st.sampled_from(DTYPES), st.lists(size, min_size=2, max_size=3).map(tuple), st.booleans())
    drawn = tuple(draw(st.lists(inputs, min_size=1, max_size=3)))
    constant = st.integers(-3, 3) | st.booleans() | st.floats(allow_nan=False, width=32)
    calls: list[Call] = []
    for number in range(draw(st.integers(1, 6))):
        node = st.integers(0, len(drawn) + number - 1)
        calls.append(draw(st.builds(Call, st.sampled_from(sorted(OPS)), node, node, constant)))
    return Spec(drawn, tuple(calls))


class Symbols:
    """Symbolic sizes of one trace. torch names a symbol after the hash of its source: ``prefix`` renames them."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.env = ShapeEnv()
        self.mode = FakeTensorMode(shape_env=self.env)
        self.known: dict[str, torch.SymInt] = {}

    def __getitem__(self, letter: str) -> torch.SymInt:
        if letter not in self.known:
            source = ConstantSource(self.prefix + letter)
            symbol = self.env.create_symbol(7, source, dynamic_dim=DimDynamic.DYNAMIC, do_not_specialize_zero_one=True)
            self.known[letter] = self.env.create_symintnode(symbol, hint=7, source=source)
        return self.known[letter]

    def tensor(self, spec: Input) -> torch.Tensor:
        sizes = [self[size] if isinstance(size, str) else size for size in spec.sizes]
        with self.mode:
            made = torch.empty(sizes, dtype=getattr(torch, spec.dtype))
            return made.transpose(-1, -2) if spec.transposed else made


def build(spec: Spec, names: str = "n", prefix: str = "") -> fx.GraphModule:
    """The graph that a description describes; ``names`` and ``prefix`` are what must not count."""
    symbols = Symbols(prefix)
    graph = fx.Graph()
    nodes: list[fx.Node] = []
    for index, tensor in enumerate(spec.inputs):
        node = graph.placeholder(f"{names}_in_{index}")
        node.meta["val"] = symbols.tensor(tensor)
        nodes.append(node)
    for index, call in enumerate(spec.calls):
        made = graph.create_node(
            "call_function",
            OPS[call.op],
            (nodes[call.left], nodes[call.right]),
            {"alpha": call.constant},
            name=f"{names}_{index}",
        )
        made.meta["val"] = nodes[call.left].meta["val"]
        nodes.append(made)
    graph.output((nodes[-1],))
    return fx.GraphModule(torch.nn.Module(), graph)


def table_of(gm: fx.GraphModule) -> Table:
    return TableBuilder().build(gm)


def fingerprint_of(gm: fx.GraphModule) -> str:
    return fingerprint(table_of(gm))


class Maker:
    """Builds a graph call by call; every value is a float32 tensor of 2 by 3."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.root = torch.nn.Module()

    def input(self, name: str = "x", **meta: Any) -> fx.Node:
        node = self.graph.placeholder(name)
        node.meta.update({"val": torch.empty(2, 3), **meta})
        return node

    def call(self, target: Any, *args: Any, meta: dict[str, Any] | None = None, **kwargs: Any) -> fx.Node:
        packet = getattr(target, "overloadpacket", target)
        name = getattr(packet, "__name__", None)
        node = self.graph.create_node("call_function", target, args, kwargs, name=name)
        node.meta.update({"val": torch.empty(2, 3), **(meta or {})})
        return node

    def attribute(self, name: str, value: Any) -> fx.Node:
        if isinstance(value, torch.Tensor):
            self.root.register_buffer(name, value)
        else:
            setattr(self.root, name, value)
        return self.graph.get_attr(name)

    def done(self, *results: Any) -> fx.GraphModule:
        self.graph.output(results)
        return fx.GraphModule(self.root, self.graph)


def chain(length: int) -> fx.GraphModule:
    """A long graph of adds and multiplications, for measuring."""
    maker = Maker()
    x = y = maker.input()
    for _ in range(length // 2):
        y = maker.call(aten.add.Tensor, y, x)
        y = maker.call(aten.mul.Tensor, y, 1.5)
    return maker.done(y)
