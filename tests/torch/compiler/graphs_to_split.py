"""Graphs written by hand, with a fake value on every node as Dynamo leaves them, and ops to cut them at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._dynamo.source import LocalSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.fx.node import map_arg

from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.partition import split_graph

WIDTH = 8
SPLITTING = ("cutting::scale", "cutting::bump", "cutting::pair", "cutting::attend")

_library = torch.library.Library("cutting", "FRAGMENT")


def _define(schema: str, run: Callable[..., Any], fake: Callable[..., Any]) -> None:
    name = schema.partition("(")[0]
    _library.define(schema)
    _library.impl(name, run, "CPU")
    torch.library.register_fake(f"cutting::{name}", fake, lib=_library)


def _attend(x: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(x * 3)


def _bump(x: torch.Tensor) -> None:
    x.add_(1)


_define("scale(Tensor x) -> Tensor", lambda x: x * 2, torch.empty_like)
_define("pair(Tensor x) -> (Tensor, Tensor)", lambda x: (x + 1, x - 1), lambda x: (x.clone(), x.clone()))
_define("attend(Tensor x, Tensor(a!) out) -> ()", _attend, lambda x, out: None)
_define("bump(Tensor(a!) x) -> ()", _bump, lambda x: None)
_define("named(Tensor x, str name) -> Tensor", lambda x, name: x * len(name), lambda x, name: torch.empty_like(x))

cutting = torch.ops.cutting


class Builder:
    """A graph while it is written: one symbolic size (the first input), tensors of ``[tokens, WIDTH]``."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode(shape_env=ShapeEnv())
        self.graph = fx.Graph()
        self.root = torch.nn.Module()
        context = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])
        example = self.mode.from_tensor(torch.zeros(13), symbolic_context=context, source=LocalSource("tokens"))
        self.symbol = example.shape[0]
        self.size = self.put("s0", self.symbol)

    def put(self, name: str, value: Any) -> fx.Node:
        """An input with a fake value."""
        node = self.graph.placeholder(name)
        node.meta["example_value"] = value
        return node

    def tokens(self, name: str, width: int = WIDTH) -> fx.Node:
        """An input of ``[tokens, width]``."""
        with self.mode:
            return self.put(name, torch.empty(self.symbol, width))

    def weight(self, name: str, *shape: int) -> fx.Node:
        """An input without a symbolic size."""
        with self.mode:
            return self.put(name, torch.empty(shape or (WIDTH, WIDTH)))

    def call(self, target: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> fx.Node:
        """A function, or by its name a method, with its fake value worked out."""
        op = "call_method" if isinstance(target, str) else "call_function"
        node = self.graph.create_node(op, target, args, kwargs)
        fake, named = map_arg((args, kwargs), lambda other: other.meta["example_value"])
        with self.mode:
            node.meta["example_value"] = (
                getattr(fake[0], target)(*fake[1:], **named) if isinstance(target, str) else target(*fake, **named)
            )
        return node

    def hold(self, name: str, value: Any) -> fx.Node:
        """A constant of the module."""
        setattr(self.root, name, value)
        return self.graph.get_attr(name)

    def finish(self, *outputs: Any) -> fx.GraphModule:
        """The graph module. Its code is generated here: it stays the original whatever happens to the graph."""
        self.graph.output(outputs)
        return fx.GraphModule(self.root, self.graph)


def split(gm: fx.GraphModule, ops: Sequence[str] | None = SPLITTING) -> tuple[fx.GraphModule, list[SplitItem]]:
    """Split, and check what must hold of every split."""
    split_gm, items = split_graph(gm, ops)
    split_gm.graph.lint()
    assert [item.graph_id for item in items] == list(range(len(items)))
    assert [str(node.target) for node in split_gm.graph.find_nodes(op="call_module")] == [
        item.submod_name for item in items
    ]
    kinds = [item.is_splitting_graph for item in items]
    assert all(left != right for left, right in itertools.pairwise(kinds))
    for item in items:
        item.graph.graph.lint()
        assert split_gm.get_submodule(item.submod_name) is item.graph
        crossing = [*item.graph.graph.find_nodes(op="placeholder"), *results(item)]
        assert not any(isinstance(value_of(node), (tuple, list)) for node in crossing)
    return split_gm, items


def results(item: SplitItem) -> list[fx.Node]:
    """What a piece returns."""
    (result,) = item.graph.graph.output_node().args
    assert isinstance(result, tuple)
    return list(result)


def inputs(item: SplitItem) -> list[str]:
    """The names of what a piece takes."""
    return [node.name for node in item.graph.graph.find_nodes(op="placeholder")]


def called(item: SplitItem) -> list[str]:
    """The names of what a piece computes."""
    return [node.name for node in item.graph.graph.nodes if node.op.startswith("call_")]


def value_of(node: fx.Node) -> Any:
    return node.meta.get("example_value")


def real_inputs(gm: fx.GraphModule, tokens: int) -> list[Any]:
    """Inputs of a graph: random tensors with this many tokens."""
    generator = torch.Generator().manual_seed(tokens)

    def real(value: Any) -> Any:
        if isinstance(value, torch.SymInt):
            return tokens
        shape = [tokens if isinstance(size, torch.SymInt) else size for size in value.shape]
        return torch.randn(shape, generator=generator)

    return [real(value_of(node)) for node in gm.graph.find_nodes(op="placeholder")]


def assert_same_run(gm: fx.GraphModule, split_gm: fx.GraphModule, sizes: Sequence[int] = (3, 7)) -> None:
    """Both return the same and leave their inputs the same, at each number of tokens."""
    for tokens in sizes:
        mine, theirs = real_inputs(gm, tokens), real_inputs(gm, tokens)
        torch.testing.assert_close(split_gm(*theirs), gm(*mine), rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(theirs, mine, rtol=0, atol=0, equal_nan=True)
