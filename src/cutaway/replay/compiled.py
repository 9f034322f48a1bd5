"""One graph run node by node, and compiled by Inductor: where what was compiled computes something else.

Only the results of compiled code can be seen. So when they part, nodes inside are made results, too: all of them at
once, or, when the fault goes away by that (two nodes were only wrong as one kernel), with the graph cut off after a
node, again and again, until the first node is found after which it is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate, map_arg

from cutaway import torch_internals
from cutaway.replay.compare import compare
from cutaway.replay.job import Answer, Comparison, Job, Ran
from cutaway.replay.loaded import LoadedGraph, StepError, changed_inputs, ran
from cutaway.replay.values import copy, describe, outputs, size_of
from cutaway.replay.watch import Watch


class Compiled:
    """Compares a graph with itself compiled.

    Args:
        job: what is asked for.
        graph: the graph.
    """

    def __init__(self, job: Job, graph: LoadedGraph) -> None:
        self.job = job
        self.graph = graph
        self.inputs = graph.inputs(job.seed)
        self.known: dict[str, torch.Tensor] = {}
        self.expected: list[Any] = []
        self._bytes = 0

    def run(self) -> Answer:
        """Raises StepError, NodeError."""
        watch = Watch(self._keep, self.job.seed)
        self.expected, left = self.graph.run(self.inputs, watch)
        traced = trace(self.graph, self.inputs)
        found, given = self._compiled(traced.graph)
        compared = [self._compare(one, other) for one, other in zip(self.expected, found, strict=True)]
        changed = changed_inputs(self.inputs, left)
        parted = sorted(set(changed) | set(changed_inputs(self.inputs, given)))
        runs = [ran(watch, self.expected, changed), Ran(outputs=list(map(describe, found)), changed=parted)]
        answer = Answer(runs=runs, outputs=compared)
        answer.inputs = [(index, self._compare(left[index], given[index])) for index in parted]
        if any(not one.fine for one in (*compared, *(one for _, one in answer.inputs))):
            self._look_inside(traced, answer)
        return answer

    def _keep(self, name: str, values: list[Any]) -> None:
        """Hold what a node computes, as it is at the end: compiled code shows nothing else."""
        if len(values) == 1 and isinstance(values[0], torch.Tensor) and "/" not in name:
            self._bytes += size_of(values)
            if self._bytes <= self.job.memory:
                self.known[name] = values[0]

    def _compare(self, one: Any, other: Any) -> Comparison:
        if one is None and other is None:
            return Comparison(verdict="skipped", why="there is no value")
        return compare([one], [other], self.job.rtol, self.job.atol)

    def _compiled(self, graph: fx.Graph) -> tuple[list[Any], list[Any]]:
        """Compile a graph and run it: its outputs, and its inputs as they are after that."""
        given = [copy(value) for value in self.inputs]
        tensors = [value for value in given if isinstance(value, torch.Tensor)]
        try:
            with torch.no_grad():
                function = torch_internals.inductor_compile(fx.GraphModule(self.graph.module, graph), tensors)
                return outputs(function(*tensors)), given
        except Exception as error:
            raise StepError("compile", 0) from error

    def _look_inside(self, traced: Traced, answer: Answer) -> None:
        """Find the node from which on the compiled graph computes something else."""
        names = [name for name in self.known if name in traced.nodes]
        inside = self._values(traced, names, keep_outputs=True)
        if any(not one.fine for one in inside.values()):
            answer.inside, answer.values, answer.method = list(inside), list(inside.values()), "outputs"
            return
        low, high = 0, len(names)  # cut off after names[high] it is wrong, or is not known to be right
        wrong: dict[str, Comparison] = {}
        while low < high:
            middle = (low + high) // 2
            found = self._values(traced, traced.read_after(names, middle))
            if any(not one.fine for one in found.values()):
                high, wrong = middle, found
            else:
                low = middle + 1
        if wrong:
            answer.inside, answer.values, answer.method = list(wrong), list(wrong.values()), "prefixes"

    def _values(self, traced: Traced, names: Sequence[str], keep_outputs: bool = False) -> dict[str, Comparison]:
        """Compile the graph with these nodes as results; how they compare."""
        found, _ = self._compiled(traced.returning(names, keep_outputs))
        pairs = zip(names, found[len(found) - len(names) :], strict=True)
        nothing = Comparison(verdict="skipped", why="it returns nothing")  # what it wrote to is another node's value
        return {name: nothing if value is None else self._compare(self.known[name], value) for name, value in pairs}


class Traced:
    """A raw graph as fx, for inputs whose sizes are fixed.

    Attributes:
        graph: it takes tensors only.
        nodes: name in the raw file -> node.
    """

    def __init__(self, graph: fx.Graph, nodes: dict[str, fx.Node]) -> None:
        self.graph = graph
        self.nodes = nodes

    def returning(self, names: Sequence[str], keep_outputs: bool) -> fx.Graph:
        """The graph with these nodes as further results; or as its only ones, and nothing after the last of them."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        result = graph.graph_copy(self.graph, copies)
        kept = list(outputs(result)) if keep_outputs else []
        found = [copies[self.nodes[name]] for name in names]
        after = reversed([] if keep_outputs else list(graph.nodes))
        for node in takewhile(lambda node: node not in found and node.op != "placeholder", after):
            graph.erase_node(node)
        graph.output((*kept, *found))
        return graph

    def read_after(self, names: Sequence[str], place: int) -> list[str]:
        """The node in this place, and those before it that are read after it."""
        order = {node: number for number, node in enumerate(self.graph.nodes)}
        last = order[self.nodes[names[place]]]
        live = [name for name in names[:place] if any(order[user] > last for user in self.nodes[name].users)]
        return [*live, names[place]]


class _Names:
    """Makes each line of a raw file a node, and notes which; traced by itself, fx would make of some what they are now.

    Those are calls without a traced argument (of `empty`, `arange`, `rand`), tensors of the module, writes to an item,
    and operators that take graphs.
    """

    def __init__(self, root: torch.nn.Module) -> None:
        self.tracer = _Tracer()
        self.root = root
        self.nodes: dict[str, fx.Node] = {}
        self._path: list[str] = []

    def call(self, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._path.append(name)
        try:
            if isinstance(function, (fx.Proxy, torch.nn.Module)):  # a method of a traced value
                return self._note(function(*args, **kwargs))
            args, kwargs = map_aggregate((args, kwargs), self._argument)
            return self._note(self.tracer.create_proxy("call_function", function, args, kwargs))
        finally:
            self._path.pop()

    def value(self, name: str, value: Any, /) -> Any:
        self._path.append(name)
        try:
            return self._note(self._argument(value) if isinstance(value, torch.Tensor) else value)
        finally:
            self._path.pop()

    def drop(self, *names: str) -> None:
        pass

    def _note(self, value: Any) -> Any:
        if isinstance(value, fx.Proxy):
            self.nodes["/".join(self._path)] = value.node
        return value

    def _argument(self, value: Any) -> Any:
        """A graph or a tensor of the module as a node; anything else is itself."""
        if isinstance(value, torch.nn.Module):
            return self._attribute(self._body(value))
        if not isinstance(value, torch.Tensor):
            return value
        node = self.tracer.create_arg(value)
        return self._attribute(str(node.target)) if isinstance(node, fx.Node) else value

    def _attribute(self, place: str) -> fx.Proxy:
        return self.tracer.create_proxy("get_attr", place, (), {})

    def _body(self, module: torch.nn.Module) -> str:
        """A graph within the graph, traced; where it lies."""
        outer, self.tracer = self.tracer, _Tracer()
        try:
            body = fx.GraphModule(module, self.tracer.trace(module))
        finally:
            self.tracer = outer
        place = f"_traced_{len([*self.root.children()])}"
        self.root.add_module(place, body)
        return place


class _Tracer(fx.Tracer):
    """Goes into every module: a raw graph's are its own."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return False


def trace(graph: LoadedGraph, inputs: Sequence[Any]) -> Traced:
    """A raw graph as fx, with the inputs that are no tensors put in as constants.

    Raises:
        StepError: it cannot be traced.
    """
    names = _Names(graph.module)
    try:
        with graph.watched_by(names):
            traced = names.tracer.trace(graph.module)
        _bind(traced, inputs)
    except Exception as error:
        raise StepError("compile", 0) from error
    return Traced(traced, names.nodes)


def _bind(graph: fx.Graph, inputs: Sequence[Any]) -> None:
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node, value in zip(placeholders, inputs, strict=True):
        if isinstance(value, torch.Tensor):
            continue
        if not isinstance(value, (bool, int, float, type(None))):
            raise TypeError(f"the input {node.target} is a {type(value).__name__}, which compiled code does not take")
        for user in list(node.users):
            user.args = map_arg(user.args, lambda one, old=node, new=value: new if one is old else one)
            user.kwargs = map_arg(user.kwargs, lambda one, old=node, new=value: new if one is old else one)
        graph.erase_node(node)
    (end,) = (node for node in graph.nodes if node.op == "output")
    if not isinstance(end.args[0], (tuple, list)):
        end.args = ((end.args[0],),)
