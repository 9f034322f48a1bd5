"""Walks a split graph and says what is to be compiled: each distinct piece once for each range."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.build.interface import Runnable, Task
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.capture.symbols import BatchSymbol
from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.same import structural_key


@dataclass
class PiecewiseBackend:
    """One piece, and what runs it for each range.

    Attributes:
        item: the piece.
        same_as: the earlier piece that this one equals; it shares what that one runs.
        sym_shape_indices: positions of the inputs that are sizes.
        is_first, is_last: among the pieces that are compiled (CUDA graphs treat those two apart).
        runnables: what runs it, by range.
        keys: the cache key of what runs it, by range; empty where nothing is kept.
    """

    item: SplitItem
    same_as: str | None = None
    sym_shape_indices: tuple[int, ...] = ()
    is_first: bool = False
    is_last: bool = False
    runnables: dict[Range, Runnable] = field(default_factory=dict)
    keys: dict[Range, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the stitching code calls it."""
        return self.item.submod_name


class PiecewiseCompileInterpreter:
    """Goes through the pieces of a split graph in order.

    vLLM's class of that name runs the graph on fake tensors to learn each piece's inputs; the metadata that Dynamo
    left on every node says the same, so here nothing is run.

    Args:
        items: the pieces.
        ranges: for which batch sizes.
        batch: the batch size in the graph.
        compile_all: compiles tasks and returns what runs each, with its cache key or "".
    """

    def __init__(
        self,
        items: Sequence[SplitItem],
        ranges: Sequence[Range],
        batch: BatchSymbol,
        compile_all: Callable[[Sequence[Task]], Sequence[tuple[Runnable, str]]],
    ) -> None:
        self.items = items
        self.ranges = ranges
        self.batch = batch
        self.compile_all = compile_all

    def run(self) -> list[PiecewiseBackend]:
        """Compile every distinct piece for every range; a splitting piece is left as it is."""
        backends = self._distinct()
        todo = [backend for backend in backends if backend.same_as is None]
        places = [(backend, span) for backend in todo for span in self.ranges]
        built = self.compile_all([self._task(backend, span) for backend, span in places])
        for (backend, span), (runnable, key) in zip(places, built, strict=True):
            backend.runnables[span] = runnable
            backend.keys[span] = key
        by_name = {backend.name: backend for backend in todo}
        for backend in backends:
            if backend.same_as is not None:
                backend.runnables, backend.keys = by_name[backend.same_as].runnables, by_name[backend.same_as].keys
        return backends

    def _distinct(self) -> list[PiecewiseBackend]:
        seen: dict[Hashable, str] = {}
        found: list[PiecewiseBackend] = []
        for item in self.items:
            if item.is_splitting_graph:
                continue
            same_as = seen.setdefault(structural_key(item.graph), item.submod_name)
            sizes = tuple(
                position
                for position, node in enumerate(item.graph.graph.find_nodes(op="placeholder"))
                if isinstance(node.meta.get("example_value"), (int, torch.SymInt))
            )
            found.append(PiecewiseBackend(item, None if same_as == item.submod_name else same_as, sizes))
        if found:
            found[0].is_first = found[-1].is_last = True
        return found

    def _task(self, backend: PiecewiseBackend, span: Range) -> Task:
        graph = copied(backend.item.graph)
        inputs = example_inputs(graph)
        if span.is_single_size:
            fixed = with_size(inputs, self.batch.symbol, span.start)
            if fixed is None:  # another size varies, too: dynamic code for a range of one
                span = Range(span.start, span.end)
            else:
                inputs = fixed
        return Task(graph, inputs, span, backend.name)


def copied(gm: fx.GraphModule) -> fx.GraphModule:
    """A copy whose nodes may be changed; the values in their metadata, and the weights, are shared."""
    graph = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    result = graph.graph_copy(gm.graph, values)
    made = graph.output(result)
    old = gm.graph.output_node()
    made.meta.update(old.meta)
    return fx.GraphModule(gm, graph)


def example_inputs(gm: fx.GraphModule) -> list[Any]:
    """What Dynamo captured each input with: fake tensors, symbolic sizes, opaque values."""
    return [node.meta["example_value"] for node in gm.graph.find_nodes(op="placeholder")]


def with_size(inputs: Sequence[Any], symbol: Any, size: int) -> list[Any] | None:
    """Inputs with the batch size filled in, in a fake mode of their own; None when another size is left symbolic."""
    mode = torch_internals.fake_mode_with_sizes()
    found: list[Any] = []
    for value in inputs:
        if isinstance(value, torch.SymInt):
            known = torch_internals.size_with(value, symbol, size)
            if known is None:
                return None
            found.append(known)
        elif isinstance(value, torch.Tensor):
            shape = [torch_internals.size_with(part, symbol, size) for part in value.shape]
            stride = [torch_internals.size_with(part, symbol, size) for part in value.stride()]
            if None in shape or None in stride:
                return None
            with mode:
                found.append(torch.empty_strided(shape, stride, dtype=value.dtype, device=value.device))  # pyright: ignore[reportArgumentType]
        else:
            found.append(value)
    return found
