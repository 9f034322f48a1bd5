"""Graphs that call ops, each with symbols and a fake mode of its own, made from a description."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
    StrictMinMaxConstraint,
)
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges

from cutaway.ops import IrOp

LAYER = {"1": ("L['self'].layers.3.norm", torch.nn.RMSNorm)}
STACK = '  File "model.py", line 12, in forward\n    return self.norm(x)\n'


@dataclass(frozen=True)
class Size:
    """``times * symbol + plus``, the symbol by its number; a plain number without one."""

    plus: int
    symbol: int | None = None
    times: int = 1

    def value(self, symbols: Sequence[Any]) -> Any:
        return self.plus if self.symbol is None else symbols[self.symbol] * self.times + self.plus


@dataclass(frozen=True)
class Shape:
    """A tensor.

    Attributes:
        sizes: of its dimensions.
        dtype: of its elements.
        order: the dimensions from the outermost in memory to the innermost; None: as they are.
        gap: what the innermost stride is.
        offset: where in its memory it begins.
        base: the number of another input whose memory it lies in.
        device: where; it need not be there.
    """

    sizes: tuple[Size, ...]
    dtype: torch.dtype = torch.float32
    order: tuple[int, ...] | None = None
    gap: int = 1
    offset: int = 0
    base: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Input:
    """The input of that number, as an argument."""

    number: int


@dataclass(frozen=True)
class Result:
    """What an earlier call returned, or one part of it, as an argument."""

    number: int
    part: int | None = None


@dataclass(frozen=True)
class Asked:
    """A symbol as an argument."""

    symbol: int


@dataclass(frozen=True)
class Called:
    """A call of an op, with `Input`, `Result` and `Asked` among its arguments."""

    op: IrOp
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Symbol:
    """A symbolic size: the example's value, the bounds, and whether the example is kept from whoever asks."""

    hint: int
    low: int = 2
    high: int | None = None
    unbacked: bool = False


@dataclass(frozen=True)
class Program:
    """Inputs and calls.

    Attributes:
        symbols: of the sizes.
        inputs: tensors.
        calls: one after another.
        relations: pairs of symbols of which the first is a multiple of the second, known beforehand.
        checks: (symbol, number): the symbol is known to be greater.
        sums: (symbol, symbol, number): their sum is known not to be the number.
    """

    symbols: tuple[Symbol, ...]
    inputs: tuple[Shape, ...]
    calls: tuple[Called, ...]
    relations: tuple[tuple[int, int], ...] = ()
    checks: tuple[tuple[int, int], ...] = ()
    sums: tuple[tuple[int, int, int], ...] = ()


@dataclass
class Built:
    """A program as a graph."""

    gm: fx.GraphModule
    mode: FakeTensorMode
    symbols: list[Any]
    calls: list[fx.Node] = field(default_factory=list)


def build(program: Program, names: str = "s", skipped: int = 0, **settings: Any) -> Built:
    """The program as a graph of its own.

    Args:
        program: it.
        names: what symbols are named after.
        skipped: how many unbacked symbols there are besides, so that others have other names.
        settings: of the ShapeEnv.
    """
    mode = FakeTensorMode(shape_env=ShapeEnv(**settings))
    for _ in range(skipped):
        mode.shape_env.create_unbacked_symint()
    mode.shape_env.pending_fresh_unbacked_symbols.clear()
    symbols = [_symbol(mode, symbol, f"{names}{number}") for number, symbol in enumerate(program.symbols)]
    with mode:
        for one, other in program.relations:
            torch._check(symbols[one] % symbols[other] == 0)
        for one, number in program.checks:
            torch._check(symbols[one] > number)
        for one, other, number in program.sums:
            torch._check(symbols[one] + symbols[other] != number)
    graph = fx.Graph()
    values: list[Any] = []
    placed: list[fx.Node] = []
    sizes: dict[int, fx.Node] = {}
    for number, symbol in enumerate(symbols):
        sizes[number] = graph.placeholder(f"size_{number}")
        sizes[number].meta["val"] = symbol
    for number, shape in enumerate(program.inputs):
        values.append(_tensor(mode, shape, symbols, values))
        placed.append(graph.placeholder(f"arg{number}"))
        placed[-1].meta["val"] = values[-1]
    calls: list[fx.Node] = []
    used: list[fx.Node] = []
    for called in program.calls:
        args = _arguments(graph, called.args, placed, calls, sizes)
        node = graph.call_function(called.op.torch_op, args)
        with mode, torch.no_grad():
            node.meta["val"] = called.op.torch_op(*fx.map_arg(args, lambda arg: arg.meta["val"]))
        mode.shape_env.pending_fresh_unbacked_symbols.clear()  # as whoever traces a node binds what it makes
        node.meta |= {"nn_module_stack": LAYER, "stack_trace": STACK, "seq_nr": 7, "custom": {"kept": len(calls)}}
        node.meta["original_aten"] = called.op.torch_op  # as AOTAutograd notes it
        calls.append(node)
        used += _parts(graph, node)
    graph.output(tuple(used))
    return Built(fx.GraphModule({}, graph), mode, symbols, calls)


def _symbol(mode: FakeTensorMode, symbol: Symbol, name: str) -> Any:
    env = mode.shape_env
    assert env is not None
    if symbol.unbacked:
        made = env.create_unbacked_symint()
        torch._check(made >= symbol.low)
        if symbol.high is not None:
            torch._check(made <= symbol.high)
        env.pending_fresh_unbacked_symbols.clear()
        return made
    bounds = StrictMinMaxConstraint(warn_only=False, vr=ValueRanges(symbol.low, symbol.high or int_oo))
    context = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC], constraint_sizes=[bounds])
    (made,) = mode.from_tensor(
        torch.empty(symbol.hint, device="meta"), source=ConstantSource(name), symbolic_context=context
    ).shape
    return made


def _tensor(mode: FakeTensorMode, shape: Shape, symbols: Sequence[Any], others: Sequence[Any]) -> Any:
    sizes = [size.value(symbols) for size in shape.sizes]
    strides: list[Any] = [0] * len(sizes)
    stride: Any = shape.gap
    for place in reversed(shape.order or range(len(sizes))):
        strides[place] = stride
        stride = stride * sizes[place]
    with mode:
        if shape.base is not None:
            return torch.as_strided(others[shape.base], sizes, strides, shape.offset)
        whole = torch.empty_strided(sizes, strides, dtype=shape.dtype, device=shape.device)
        if not shape.offset:
            return whole
        memory = torch.empty(stride + shape.offset, dtype=shape.dtype, device=shape.device)
        return memory.as_strided(sizes, strides, shape.offset)


def _arguments(
    graph: fx.Graph, args: Any, inputs: Sequence[fx.Node], calls: Sequence[fx.Node], sizes: Mapping[int, fx.Node]
) -> Any:
    if isinstance(args, Input):
        return inputs[args.number]
    if isinstance(args, Asked):
        return sizes[args.symbol]
    if isinstance(args, Result):
        node = calls[args.number]
        return node if args.part is None else _parts(graph, node)[args.part]
    if isinstance(args, (tuple, list)):
        return type(args)(_arguments(graph, arg, inputs, calls, sizes) for arg in args)
    return args


def _parts(graph: fx.Graph, node: fx.Node) -> list[fx.Node]:
    """A node, or the nodes that take its results apart."""
    value = node.meta["val"]
    if not isinstance(value, (tuple, list)):
        return [node]
    taken = {user.args[1]: user for user in node.users if user.target is operator.getitem}
    for number, part in enumerate(value):
        if number not in taken:
            taken[number] = graph.call_function(operator.getitem, (node, number))
            taken[number].meta = {"val": part, "stack_trace": STACK, "nn_module_stack": LAYER}
    return [taken[number] for number in range(len(value))]
