"""Makes a program smaller as long as it shows the fault: fewer results, fewer nodes, smaller sizes, seeded inputs.

Delta debugging (Zeller and Hildebrandt, 2002) on a graph: what is left out is the far end of it, where recorded values
take its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from cutaway.explain.reproducer.program import Marked, Program, extract, levels, writes

_HALVES = 12


@dataclass
class Shrinker:
    """Shrinks one program.

    Attributes:
        program: the smallest so far; it shows the fault.
        seconds: how long it may take.
        values: for each graph, what its nodes compute.
        tries: how many smaller ones were run.
        is_seeded: whether the inputs are random numbers by a seed.
        clock: seconds that only grow.
    """

    program: Program
    seconds: float
    values: Sequence[Mapping[str, Any]] = ()
    clock: Callable[[], float] = time.monotonic
    tries: int = field(default=0, init=False)
    is_seeded: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds
        self.values = self.values or [values_of(graph, self.program.inputs) for graph in self.program.graphs]

    def run(self, nodes: Sequence[str | None]) -> Program:
        """Shrink it.

        Args:
            nodes: for each graph the node at which the fault was found, or None.
        """
        if self.program.fault == "overwritten":
            self._writer_alone()
        else:
            self._fewer_results(nodes)
        if len(self.program.graphs) == 2:
            self._cut_where_equal()
        self._cut_by_distance()
        if self.program.fault == "crash":
            self._earlier_results()
        self._cut_one_by_one()
        self._smaller_sizes()
        self._seeded()
        return self.program

    def try_out(self, program: Program) -> bool:
        """Take a smaller program if it shows the fault and there is time."""
        if self.clock() >= self._end:
            return False
        self.tries += 1
        if not program.shows():
            return False
        self.program = program
        return True

    # -- fewer nodes --------------------------------------------------------------------------------------

    def _fewer_results(self, nodes: Sequence[str | None]) -> None:
        """The node at which the fault was found as the only result; or else one of the results."""
        graphs = self.program.graphs
        if len(nodes) == len(graphs) and all(nodes):
            ends = [_named(graph, name or "") for graph, name in zip(graphs, nodes, strict=True)]
            if all(end is not None for end in ends) and self._with_ends([[end] for end in ends if end is not None]):
                return
        results = [list(_results(graph)) for graph in graphs]
        if len(results[0]) < 2 or len({len(one) for one in results}) != 1:
            return
        for place in range(len(results[0])):
            if self._with_ends([[one[place]] for one in results]):
                return

    def _earlier_results(self) -> None:
        """What a result is computed of in its place, again and again: where a process ends no value tells the place."""
        while any(self._with_ends([[one]]) for end in _results(self.program.graphs[0]) for one in self._before(end)):
            pass

    def _before(self, node: fx.Node) -> list[fx.Node]:
        """The nodes with a tensor that a node is computed of."""
        known = [one for one in node.all_input_nodes if one.op.startswith("call")]
        tensors = [one for one in known if isinstance(self.values[0].get(one.name), torch.Tensor)]
        return tensors or [other for one in known for other in self._before(one)]

    def _writer_alone(self) -> None:
        """What overwrites as the only result of the second graph, what it writes as that of the first."""
        first, second = self.program.graphs
        for writer in (node for node in second.nodes if node.op.startswith("call") and writes(node)):
            given = [_named(first, one.name) for one in writer.all_input_nodes]
            ends = [one for one in given if one is not None and one.op.startswith("call")] or [*_results(first)][:1]
            if ends and self._with_ends([ends, [writer]]):
                return

    def _with_ends(self, ends: Sequence[Sequence[fx.Node]]) -> bool:
        made = tuple(extract(graph, end, {}) for graph, end in zip(self.program.graphs, ends, strict=True))
        return self.try_out(replace(self.program, graphs=made))

    def _cut_where_equal(self) -> None:
        """Where both graphs have a node of the same name and value, it becomes an input of both."""
        first, second = self.program.graphs
        same = {name for name in self._cuttable(0) if name in self.values[1] and self._is_equal(name)}
        self._cut(
            [{n: n.name for n in graph.nodes if n.name in same and n.op != "placeholder"} for graph in (first, second)]
        )

    def _is_equal(self, name: str) -> bool:
        one, other = (values.get(name) for values in self.values)
        return isinstance(other, torch.Tensor) and isinstance(one, torch.Tensor) and _same(one, other)

    def _cut_by_distance(self) -> None:
        """All that is further away from the results than so many steps becomes inputs; as few as it goes."""
        if len(self.program.graphs) == 2:
            return
        graph = self.program.graphs[0]
        distance = levels(graph, list(_results(graph)))
        known = self._cuttable(0)
        deepest = max(distance.values(), default=0)
        for steps in _growing(deepest):
            cuts = {n: n.name for n, far in distance.items() if far >= steps and n.name in known}
            if cuts and self._cut([cuts]):
                return

    def _cut_one_by_one(self) -> None:
        """Each node that is left, from the inputs on: it becomes an input if it can."""
        done: set[str] = set()
        while True:
            todo = [
                name
                for place in range(len(self.program.graphs))
                for name in self._cuttable(place)
                if name not in done and (len(self.program.graphs) == 1 or self._is_shared(name))
            ]
            if not todo or self.clock() >= self._end:
                return
            name = todo[0]
            done.add(name)
            self._cut([{n: name for n in graph.nodes if n.name == name} for graph in self.program.graphs])

    def _is_shared(self, name: str) -> bool:
        return all(_named(graph, name) is not None for graph in self.program.graphs) and self._is_equal(name)

    def _cut(self, cuts: Sequence[Mapping[fx.Node, str]]) -> bool:
        if not any(cuts):
            return False
        graphs, inputs = self.program.graphs, dict(self.program.inputs)
        for place, cut in enumerate(cuts):
            inputs |= {name: self.values[place][name] for name in cut.values()}
        made = tuple(extract(graph, list(_results(graph)), cut) for graph, cut in zip(graphs, cuts, strict=True))
        smaller = Program(self.program.fault, made, inputs)
        return smaller.size < self.program.size and self.try_out(smaller)

    def _cuttable(self, place: int) -> list[str]:
        """Nodes of a graph, other than its results, whose value is one tensor that is known."""
        graph = self.program.graphs[place]
        ends = self.program.graphs if self.program.fault == "overwritten" else (graph,)  # what is written stays shown
        results = {node.name for one in ends for node in _results(one)}
        return [
            node.name
            for node in graph.nodes
            if node.op.startswith("call")
            and node.name not in results
            and isinstance(self.values[place].get(node.name), torch.Tensor)
        ]

    # -- smaller inputs -----------------------------------------------------------------------------------

    def _smaller_sizes(self) -> None:
        """Halve every dimension that has a size in common with others, the largest first."""
        for _ in range(_HALVES):
            tensors = [one for one in self.program.used().values() if isinstance(one, torch.Tensor)]
            sizes = sorted({size for one in tensors for size in one.shape if size > 1}, reverse=True)
            if not any(self.try_out(_halved(self.program, size)) for size in sizes):
                return

    def _seeded(self) -> None:
        """Random numbers in the place of recorded ones, where they show the fault as well."""
        made = seeded_inputs(self.program.used())
        self.is_seeded = self.try_out(replace(self.program, inputs=made))


def values_of(graph: fx.Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the nodes of a graph compute."""
    names = [node.name for node in graph.find_nodes(op="placeholder")]
    run = Marked(fx.GraphModule({}, graph), keep=True)
    with torch.no_grad():
        run.run(*(_copied(inputs[name]) for name in names))
    return run.values


def seeded(shape: Sequence[int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Random numbers; the file of the reproducer has the same function."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)).to(dtype)


def seeded_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs with random numbers in the place of floats, by their place; the file of the reproducer makes the same."""
    return {name: _random(value, seed) for seed, (name, value) in enumerate(inputs.items())}


def _random(value: Any, seed: int) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.device.type != "cpu":
        return value
    return seeded(value.shape, value.dtype, seed)


def _halved(program: Program, size: int) -> Program:
    half = size // 2

    def cut(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return half if type(value) is int and value == size else value
        for dim, known in enumerate(value.shape):
            if known == size:
                value = value.narrow(dim, 0, half)
        return value.contiguous()

    return replace(program, inputs={name: cut(value) for name, value in program.inputs.items()})


def _growing(most: int) -> Iterator[int]:
    steps, following = 1, 2
    while steps < most:
        yield steps
        steps, following = following, steps + following


def _results(graph: fx.Graph) -> Iterator[fx.Node]:
    found = graph.output_node().args[0]
    yield from (one for one in (found if isinstance(found, (tuple, list)) else (found,)) if isinstance(one, fx.Node))


def _named(graph: fx.Graph, name: str) -> fx.Node | None:
    return next((node for node in graph.nodes if node.name == name), None)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
