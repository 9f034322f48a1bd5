"""Whatever the graph: cut and put together again, it returns the same and leaves its inputs the same."""

from __future__ import annotations

import operator
from collections import Counter

import torch
from compiler.graphs_to_split import WIDTH, Builder, assert_same_run, cutting, split, value_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import fx

from cutaway.compiler.split.item import SplitItem
from cutaway.torch_internals import storage_of

VIEWS = ("slice", "turn", "fold", "part")
MOVES = (
    "add", "sin", "matmul", "write", "scale", "bump", "pair", "attend", "chunk", "take", "join", "ask", "shape", "use",
    "double", "index", "copy", "fill", *VIEWS,
)  # fmt: skip


class Program:
    """A program while hypothesis writes it: tensors of ``[tokens, WIDTH]``, tuples, shapes and sizes to draw from."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.b = Builder()
        self.tensors = [self.b.tokens("x"), self.b.tokens("y")]
        self.weight = self.b.weight("w")
        self.tuples: list[fx.Node] = []
        self.shapes: list[fx.Node] = []
        self.sizes = [self.b.size]

    def draw(self, nodes: list[fx.Node]) -> fx.Node:
        return nodes[self.data.draw(st.integers(0, len(nodes) - 1))]

    def add(self) -> None:
        self.tensors.append(self.b.call(operator.add, self.draw(self.tensors), self.draw(self.tensors)))

    def sin(self) -> None:
        self.tensors.append(self.b.call("sin", self.draw(self.tensors)))

    def matmul(self) -> None:
        self.tensors.append(self.b.call(torch.matmul, self.draw(self.tensors), self.weight))

    def write(self) -> None:
        self.b.call("add_", self.draw(self.tensors), 0.5)

    def scale(self) -> None:
        self.tensors.append(self.b.call(cutting.scale.default, self.draw(self.tensors)))

    def bump(self) -> None:
        self.b.call(cutting.bump.default, self.draw(self.tensors))

    def pair(self) -> None:
        self.tuples.append(self.b.call(cutting.pair.default, self.draw(self.tensors)))

    def attend(self) -> None:
        x = self.draw(self.tensors)
        out = self.b.call(torch.empty_like, x)
        self.b.call(cutting.attend.default, x, out)
        self.tensors.append(out)

    def chunk(self) -> None:
        doubled = self.b.call(torch.cat, [self.draw(self.tensors), self.draw(self.tensors)], 0)
        self.tuples.append(self.b.call("split", doubled, self.b.size, 0))

    def take(self) -> None:
        if self.tuples:
            self.tensors.append(
                self.b.call(operator.getitem, self.draw(self.tuples), self.data.draw(st.integers(0, 1)))
            )

    def join(self) -> None:
        if self.tuples:
            joined = self.b.call(torch.cat, self.draw(self.tuples), 0)
            self.tensors.append(self.b.call("narrow", joined, 0, 0, self.draw(self.sizes[:1])))

    def ask(self) -> None:
        self.shapes.append(self.b.call("size", self.draw(self.tensors)))

    def shape(self) -> None:
        x = self.draw(self.tensors)
        self.shapes.append(self.b.call("size", self.b.call(torch.cat, [x, x], 1)))

    def use(self) -> None:
        if self.shapes:
            made = self.b.call("new_ones", self.draw(self.tensors), self.draw(self.shapes))
            self.tensors.append(self.b.call("narrow", made, 1, 0, WIDTH))

    def double(self) -> None:
        size = self.b.call(operator.mul, self.draw(self.sizes), 2)
        ones = self.b.call(torch.ones, (size, WIDTH))
        self.sizes.append(size)
        self.tensors.append(self.b.call("narrow", ones, 0, 0, self.b.size))

    def index(self) -> None:
        if self.shapes:
            self.sizes.append(self.b.call(operator.getitem, self.draw(self.shapes), 0))

    def copy(self) -> None:
        x = self.draw(self.tensors)
        last = self.b.call(operator.getitem, x, -1)
        self.tensors.append(self.b.call(torch.mul, last, x))

    def fill(self) -> None:
        x = self.b.call("new_empty", self.draw(self.tensors), (self.b.size, WIDTH))
        self.tensors.append(self.b.call("fill_", x, 2))

    def slice(self) -> None:
        x = self.draw(self.tensors)
        columns = self.data.draw(st.sampled_from([slice(0, WIDTH), [*range(WIDTH)]]))  # a view, or a copy
        self.tensors.append(self.b.call(operator.getitem, x, (slice(None), columns)))

    def turn(self) -> None:
        self.tensors.append(self.b.call("t", self.b.call("t", self.draw(self.tensors))))

    def fold(self) -> None:
        folded = self.b.call("reshape", self.draw(self.tensors), -1, 2)
        self.tensors.append(self.b.call("reshape", folded, self.draw(self.sizes[:1]), WIDTH))

    def part(self) -> None:
        whole = self.b.call("chunk", self.draw(self.tensors), 1, 1)
        self.tensors.append(self.b.call(operator.getitem, whole, 0))


def written_twice(item: SplitItem) -> set[int]:
    """The memory that a piece writes to, and takes more than once."""
    taken = [value_of(node) for node in item.graph.graph.find_nodes(op="placeholder")]
    memory = Counter(storage_of(value) for value in taken if isinstance(value, torch.Tensor))
    writes = item.graph.graph.find_nodes(op="call_method", target="add_")
    return {storage_of(value_of(node)) for node in writes if memory[storage_of(value_of(node))] > 1}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), moves=st.lists(st.sampled_from(MOVES), min_size=1, max_size=25))
def test_any_graph_computes_the_same_when_it_is_split(data: st.DataObject, moves: list[str]) -> None:
    program = Program(data)
    for move in moves:
        getattr(program, move)()
    everything = [*program.tensors, *program.sizes]
    kept = data.draw(st.lists(st.sampled_from(everything), min_size=1, max_size=6))
    gm = program.b.finish(*kept)
    split_gm, items = split(gm)
    for item in items:
        splitting = [node for node in item.graph.graph.nodes if "cutting" in str(node.target)]
        others = [node for node in item.graph.graph.nodes if node.op.startswith("call_") and node not in splitting]
        if item.is_splitting_graph:
            assert all(node.target is operator.getitem for node in others)
        else:
            assert splitting == []
            assert not written_twice(item)
        known = set[object]()
        for node in item.graph.graph.find_nodes(op="placeholder"):
            value = value_of(node)
            if isinstance(value, torch.SymInt):
                known.add(value.node.expr)
            elif not item.is_splitting_graph and isinstance(value.shape[0], torch.SymInt):
                assert value.shape[0].node.expr.free_symbols <= known
    assert_same_run(gm, split_gm, sizes=(1, 2, 5))


@given(data=st.data(), moves=st.lists(st.sampled_from(("sin", "write", "scale", *VIEWS)), min_size=1, max_size=12))
def test_views_and_writes_on_both_sides_of_a_cut_compute_the_same(data: st.DataObject, moves: list[str]) -> None:
    program = Program(data)
    for move in (*moves, "scale", "write"):
        getattr(program, move)()
    gm = program.b.finish(*[program.b.call("sin", x) for x in program.tensors])
    split_gm, items = split(gm)
    for item in items:
        assert item.is_splitting_graph or not written_twice(item)
    assert_same_run(gm, split_gm, sizes=(1, 2, 5))
