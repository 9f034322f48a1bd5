"""A fault as a program of fx: one or two graphs over the same inputs, and cutting it down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

from cutaway import torch_internals
from cutaway.explain.reproducer.forked import crashes
from cutaway.explain.reproducer.job import Fault
from cutaway.explain.within.reference import has_nan
from cutaway.replay.compare import compare
from cutaway.replay.unwritten import leaves_memory_unwritten, mark
from cutaway.replay.values import copy, outputs

Cuts = Mapping[fx.Node, str]
"""Node -> the name of the input that stands in its place."""


@dataclass(frozen=True)
class Program:
    """What is run.

    Attributes:
        fault: what it shows.
        graphs: one, or the right one and the other.
        inputs: by the name of a placeholder; both graphs take from these.
    """

    fault: Fault
    graphs: tuple[fx.Graph, ...]
    inputs: Mapping[str, Any] = field(repr=False)

    @property
    def size(self) -> int:
        """How many nodes compute something."""
        return sum(node.op.startswith("call") for graph in self.graphs for node in graph.nodes)

    def used(self, more: Iterable[Any] = ()) -> dict[str, Any]:
        """The inputs that a graph takes, in the order of the first, and those among some more names."""
        names = dict.fromkeys(node.name for graph in self.graphs for node in graph.find_nodes(op="placeholder"))
        names |= dict.fromkeys(name for name in more if isinstance(name, str))
        return {name: self.inputs[name] for name in names}

    def shows(self) -> bool:
        """Whether the fault is there. What cannot be run does not show it."""
        try:
            return self._shows()
        except Exception:  # noqa: BLE001  (a graph that was cut wrongly fails in its own way)
            return False

    def _shows(self) -> bool:
        first, left = run_graph(self.graphs[0], self.inputs)
        if self.fault == "nan":
            return has_nan(first) and not has_nan(list(self.used().values()))
        if self.fault == "overwritten":
            _, given = run_graph(self.graphs[1], self.inputs)
            return bool(self._changed(given) - self._changed(left))
        if self.fault == "crash":
            return self._is_on_cpu() and crashes(self._compile)
        if has_nan(first):
            return False  # it compares with everything
        if self.fault == "pair":
            second, given = run_graph(self.graphs[1], self.inputs)
        else:
            second, given = run_graph(self.graphs[0], self.inputs, compiled)
        return differ(first, second) or differ(list(left.values()), [given.get(name) for name in left])

    def _compile(self) -> Callable[[], object]:
        names = [node.name for node in self.graphs[0].find_nodes(op="placeholder")]
        values = [copy(self.inputs[name]) for name in names]
        with torch.no_grad():
            function = compiled(fx.GraphModule({}, self.graphs[0]), values)
        return lambda: function(*values)

    def _is_on_cpu(self) -> bool:
        return all(one.device.type == "cpu" for one in self.used().values() if isinstance(one, torch.Tensor))

    def _changed(self, given: Mapping[str, Any]) -> set[str]:
        """The inputs that are not what they were; by their bits, so that a NaN is itself."""
        return {
            name
            for name, value in given.items()
            if isinstance(value, torch.Tensor)
            and torch_internals.tensor_bytes(value) != torch_internals.tensor_bytes(self.inputs[name])
        }


Runnable = Callable[..., Any]


def compiled(module: fx.GraphModule, given: Sequence[Any]) -> Runnable:
    """A module as Inductor compiles it in this process, for these inputs, with no cache."""
    with torch_internals.without_inductor_caches():
        return torch_internals.inductor_compile(module, given)


def warm_up() -> None:
    """Let Inductor prepare here what any compile needs: each copy of this process has it then."""
    compiled(fx.symbolic_trace(lambda x: (x @ x,)), [torch.ones(1, 1)])


def run_graph(
    graph: fx.Graph, inputs: Mapping[str, Any], make: Callable[[fx.GraphModule, Sequence[Any]], Runnable] | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Outputs of a graph, and its inputs after that; node by node, or as what is made of it."""
    names = [node.name for node in graph.find_nodes(op="placeholder")]
    given = {name: copy(inputs[name]) for name in names}
    module = fx.GraphModule({}, graph)
    with torch.no_grad():
        values = list(given.values())
        result = make(module, values)(*values) if make is not None else Marked(module).run(*values)
    return outputs(result), given


class Marked(fx.Interpreter):
    """Runs a graph; memory that nobody has written to bears a mark, so that it is not compared.

    Attributes:
        values: what each node computed, at the time when it did; only when `keep` is set.
    """

    def __init__(self, module: fx.GraphModule, keep: bool = False) -> None:
        super().__init__(module, garbage_collect_values=True)
        self.keep = keep
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op.startswith("call") and leaves_memory_unwritten(n.target):
            for leaf in outputs(result):
                if isinstance(leaf, torch.Tensor):
                    mark(leaf)
        if self.keep and n.op != "output":
            self.values[n.name] = torch_internals.map_tensors(copy, result)
        return result


def differ(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether values are further apart than tolerance."""
    if len(one) != len(other):
        return True
    return any(
        not compare([left], [right]).fine
        for left, right in zip(one, other, strict=True)
        if left is not None or right is not None
    )


def extract(graph: fx.Graph, ends: Sequence[fx.Node], cuts: Cuts) -> fx.Graph:
    """The part of a graph that computes some nodes, from those that are cut on.

    What writes to memory that the part reads is in it, too.
    """
    needed = _needed(graph, ends, cuts)
    part = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node in needed and (node in cuts or node.op == "placeholder"):
            made[node] = part.placeholder(cuts.get(node, node.name))
    for node in graph.nodes:
        if node in needed and node not in made:
            made[node] = part.node_copy(node, lambda one: made[one])
    part.output(tuple(made[node] for node in ends))
    return part


def _needed(graph: fx.Graph, ends: Iterable[fx.Node], cuts: Cuts) -> set[fx.Node]:
    needed: set[fx.Node] = set()
    waiting = list(ends)
    writers = [node for node in graph.nodes if writes(node)]
    while True:
        while waiting:
            node = waiting.pop()
            if node in needed:
                continue
            needed.add(node)
            if node not in cuts:
                waiting += node.all_input_nodes
        waiting = [
            node for node in writers if node not in needed and any(one in needed for one in node.all_input_nodes)
        ]
        if not waiting:
            return needed


def writes(node: fx.Node) -> bool:
    """Whether a node writes to memory that it is passed."""
    overload = torch_internals.op_overload(node.target) if node.op == "call_function" else None
    return overload is not None and bool(torch_internals.effects_of(overload).writes)


def levels(graph: fx.Graph, ends: Collection[fx.Node]) -> dict[fx.Node, int]:
    """How many steps each node is before the ends, by the shortest way."""
    found = dict.fromkeys(ends, 0)
    waiting = list(ends)
    while waiting:
        node = waiting.pop(0)
        for one in node.all_input_nodes:
            if one not in found:
                found[one] = found[node] + 1
                waiting.append(one)
    return found


def plain(graph: fx.Graph, names: Mapping[fx.Node, str]) -> fx.Graph:
    """A copy whose constants are placeholders, too, and whose nodes bear these names."""
    made = fx.Graph()
    known = {
        node: made.placeholder(names.get(node, node.name))
        for node in graph.nodes
        if node.op in ("placeholder", "get_attr")
    }
    for node in graph.nodes:
        if node in known:
            continue
        args = map_arg(node.args, lambda one: known[one])
        kwargs = map_arg(node.kwargs, lambda one: known[one])
        known[node] = made.create_node(node.op, node.target, args, kwargs, names.get(node, node.name))
    return made
