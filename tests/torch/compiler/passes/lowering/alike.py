"""Graphs node for node: names, calls, metadata down to which values share memory."""

from __future__ import annotations

import difflib
import pprint
from collections.abc import Collection
from typing import Any

import sympy
import torch
from compiler.passes.lowering.graphs import Built
from torch import fx
from torch._inductor.pattern_matcher import (
    CallFunctionVarArgs,
    PatternMatcherPass,
    fwd_only,
    register_graph_pattern,
)
from torch._inductor.virtualized import V
from torch.fx.passes.shape_prop import TensorMetadata
from torch.utils._sympy.functions import Max

from cutaway.compiler.passes.context import PassReport
from cutaway.compiler.passes.lowering import IrLowering, Lowering, ir_targets
from cutaway.compiler.passes.replacement.cache import ReplacementCache

VALUES = ("val", "tensor_meta")


def lowered(gm: fx.GraphModule, cache: ReplacementCache) -> fx.GraphModule:
    """A graph after the pass."""
    IrLowering(cache)(gm.graph)
    gm.graph.lint()
    return gm


def traced_anew(gm: fx.GraphModule) -> fx.GraphModule:
    """A graph whose nodes are each lowered by a trace of their own."""
    ops = ir_targets()
    nodes = [node for node in gm.graph.nodes if node.target in ops]
    run = Lowering(ReplacementCache(), PassReport(), ops, nodes)
    run.around = None  # what tracing depends on is not known: nothing can be kept
    for node in nodes:
        run.lower(node)
    run.finish()
    assert run.counts["hits"] == run.counts["misses"] == 0
    gm.graph.lint()
    return gm


def by_pattern_matcher(built: Built) -> fx.GraphModule:
    """A graph of one call, lowered as vLLM does it: torch's pattern matcher traces the implementation.

    It would trace it with copies of the arguments, which do not lie in the arguments' memory and have every size as a
    symbolic number of its own.
    """
    patterns = PatternMatcherPass()

    def handler(match: Any, *args: Any, **kwargs: Any) -> None:
        (node,) = match.nodes
        op = ir_targets()[node.target]
        args = op.with_defaults(node.args, node.kwargs)
        values = fx.map_arg(args, lambda arg: arg.meta["val"])

        def trace(function: Any, copies: Any) -> fx.GraphModule:
            return fwd_only(function, values, run_functional_passes=False)

        match.replace_by_example(op.dispatch(*values).functional, args, trace)

    register_graph_pattern(CallFunctionVarArgs(list(ir_targets())), pass_dict=patterns)(handler)  # pyright: ignore
    with V.set_fake_mode(built.mode):
        assert patterns.apply(built.gm.graph) == 1
    built.gm.graph.lint()
    return built.gm


def assert_alike(one: fx.GraphModule, other: fx.GraphModule, without: Collection[str] = ()) -> None:
    """Node for node; metadata but for the fields that are named."""
    left, right = (pprint.pformat(described(gm, without), width=160) for gm in (one, other))
    assert left == right, "\n".join(difflib.unified_diff(left.split("\n"), right.split("\n"), lineterm="", n=1))


def described(gm: fx.GraphModule, without: Collection[str] = ()) -> list[Any]:
    """What a graph is, as text and numbers."""
    memories: dict[int, int] = {}
    return [
        (
            node.name,
            node.op,
            str(node.target),
            _plain(node.args),
            _plain(node.kwargs),
            {
                key: _value(value, memories) if key in VALUES else _noted(value)
                for key, value in sorted(node.meta.items())
                if key not in without
            },
        )
        for node in gm.graph.nodes
    ]


def _plain(args: Any) -> str:
    return repr(args)


def _noted(value: Any) -> Any:
    """Notes of where a node was traced from name the graph by its address."""
    if isinstance(value, list) and value and hasattr(value[0], "node_info"):
        return [(note.name, note.target, note.pass_name, note.action, _noted(note.from_node)) for note in value]
    return repr(value)


def _value(value: Any, memories: dict[int, int]) -> Any:
    if isinstance(value, TensorMetadata):
        sizes = [*map(_size, value.shape)], [*map(_size, value.stride)]
        return ("noted", type(value.shape).__name__, *sizes, *map(repr, value[1:3]), *map(repr, value[4:]))
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(_value(part, memories) for part in value)]
    if isinstance(value, torch.Tensor):
        return _tensor(value, memories)
    return _size(value)


def _tensor(value: Any, memories: dict[int, int]) -> Any:
    storage = value.untyped_storage()
    return {
        "kind": type(value).__name__,
        "dtype": value.dtype,
        "device": value.device,
        "shape": [type(value.shape).__name__, *map(_size, value.shape)],
        "stride": [*map(_size, value.stride())],
        "offset": _size(value.storage_offset()),
        "memory": memories.setdefault(storage._cdata, len(memories)),
        "bytes": _expanded(storage.nbytes()),  # torch itself writes them now this way, now that
        "keys": str(torch._C._dispatch_keys(value)),
        "grad": value.requires_grad,
        "leaf": value.is_leaf,
        "contiguous": _contiguous(value),
        "state": {key: _state(held) for key, held in sorted(vars(value).items())},
    }


def _contiguous(value: Any) -> Any:
    return value.is_contiguous() if not value._has_symbolic_sizes_strides else None


def _state(held: Any) -> str:
    return type(held).__name__ if hasattr(held, "shape_env") else repr(held)


def _size(size: Any) -> Any:
    if isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return type(size).__name__, str(size.node.expr), size.node.hint
    return type(size).__name__, repr(size)


def _expanded(size: Any) -> str:
    """In one form; ``Max(1, u0)``, as strides have it in case a size is nought, is the size."""
    expression = sympy.sympify(size.node.expr if isinstance(size, torch.SymInt) else size)
    return str(sympy.expand(expression.replace(Max, lambda *terms: Max(*(term for term in terms if term != 1)))))
