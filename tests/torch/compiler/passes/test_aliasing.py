"""What is said of memory, held against what tensors do when the graph runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compiler.passes.random_programs import program, results, steps_with
from compiler.passes.rewriting import captured, functional, numbers, runs, traced
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor, fx

from cutaway import torch_internals
from cutaway.compiler.passes.aliasing import Memory, places

aten = torch.ops.aten
own = torch.ops.rewriting


class Watched(fx.Interpreter):
    """Runs a graph, and notes which tensors there are, and which nodes change the content of which."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm, garbage_collect_values=False)
        self.tensors: dict[Any, Tensor] = {}
        self.writes: list[tuple[fx.Node, Any]] = []

    def run_node(self, n: fx.Node) -> Any:
        before = {place: value.clone() for place, value in self.tensors.items()}
        result = super().run_node(n)
        self.writes += [(n, place) for place, old in before.items() if not torch.equal(old, self.tensors[place])]
        for place in places(n):
            value = result
            for key in place[1]:
                value = value[key]
            if isinstance(value, Tensor):
                self.tensors[place] = value
        return result


def assert_memory_is_right(gm: fx.GraphModule, *inputs: Any) -> None:
    watched = Watched(gm)
    watched.run(*[x.clone() if isinstance(x, Tensor) else x for x in inputs])
    memory = Memory(gm.graph)
    groups = {place: group for node in gm.graph.nodes for group in memory.all_of(node) for place in group.places}
    assert groups.keys() >= watched.tensors.keys()
    by_storage: dict[int, Any] = {}
    for place, value in watched.tensors.items():
        first = by_storage.setdefault(torch_internals.storage_of(value), place)
        assert groups[place] is groups[first], f"{place} and {first} share memory"
    for node, place in watched.writes:
        assert any(use.node is node and use.writes for use in groups[place].uses), f"{node} writes to {place}"


ALL_INPUTS = [numbers(4, 3, seed=1), numbers(4, 3, seed=2)]
CUSTOM = ("double_by_name", "add_to_all", "sum_into", "step", "halves")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(steps_with(*CUSTOM), results)
def test_views_and_writes_of_any_program(written: Any, returned: Any) -> None:
    gm = traced(program(written, returned), *[x.clone() for x in ALL_INPUTS])
    assume(runs(gm, ALL_INPUTS))
    assert_memory_is_right(gm, *ALL_INPUTS)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(steps_with(*CUSTOM, *CUSTOM), results)
def test_of_functional_graphs(written: Any, returned: Any) -> None:
    run = program(written, returned)
    try:
        run(*[x.clone() for x in ALL_INPUTS])
    except RuntimeError:
        assume(False)
    gm = functional(lambda *inputs: tuple(run(*inputs)), *ALL_INPUTS)
    assert_memory_is_right(gm, *ALL_INPUTS)


def python_all_over(x: Tensor, y: Tensor) -> Any:
    """Methods, Python functions, items, and writes of every form, as Dynamo leaves them in a graph."""
    first, second = x.chunk(2)
    rows = x[1:3]
    turned = y.transpose(0, 1).reshape(-1, 4)
    made = torch.nn.functional.relu(turned.contiguous())
    same = torch.nn.functional.relu(made.view_as(made), inplace=True)
    made += 1
    same[0] = 2
    flat = torch.flatten(same.clone())
    flat.mul_(3)
    torch.add(first, 1, out=second)
    y.view(-1)[0] = 7
    total = aten.add(rows.sum(), aten.view(made, [-1])[0])
    return total, flat, rows.expand(2, 2, 3), same.split([1, 2])[1]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_of_graphs_as_dynamo_hands_them_over(dynamic: bool) -> None:
    gm = captured(python_all_over, *[x.clone() for x in ALL_INPUTS], dynamic=dynamic)
    tensors = {"L_x_": ALL_INPUTS[0], "L_y_": ALL_INPUTS[1]}
    inputs = gm.graph.find_nodes(op="placeholder")
    assert_memory_is_right(gm, *[tensors.get(node.target, torch_internals.hint(_value(node))) for node in inputs])


def _value(node: fx.Node) -> Any:
    value = node.meta["example_value"]
    return value if isinstance(value, torch.SymInt) else 0


# -- what schemas do not say -------------------------------------------------------------------------------


def test_operators_that_keep_quiet() -> None:
    assert torch_internals.effects_of(aten._unsafe_view.default).aliases == (frozenset({"self"}),)
    assert torch_internals.effects_of(aten.unsafe_split.Tensor).aliases == (frozenset({"self"}),)
    assert torch_internals.effects_of(aten.native_batch_norm.default).writes == {"running_mean", "running_var"}
    assert torch_internals.effects_of(torch.ops._c10d_functional.wait_tensor.default).aliases == (
        frozenset({"tensor"}),
    )


def test_lists_are_annotated_without_names() -> None:
    assert torch_internals.effects_of(aten.split.Tensor).aliases == (frozenset({"self"}),)
    assert torch_internals.effects_of(aten.unbind.int).is_view
    assert torch_internals.effects_of(aten._foreach_add_.Scalar).writes == {"self"}
    assert torch_internals.effects_of(own.add_to_all_.default).writes == {"xs"}


def test_what_is_a_view_reads_nothing_and_what_may_copy_does() -> None:
    assert torch_internals.effects_of(aten.view.default).is_view
    assert not torch_internals.effects_of(aten.reshape.default).is_view
    assert not torch_internals.effects_of(aten.clone.default).aliases[0]
    assert torch_internals.effects_of(aten.set_.source_Tensor).changes_metadata
