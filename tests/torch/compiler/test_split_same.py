"""Equal but for names is equal; everything that changes what a piece computes makes it another."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.graphs_to_split import WIDTH, Builder, cutting, split, value_of
from effort import steps
from torch import fx

from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.same import differences, structural_key


def piece(write: Callable[[Builder, fx.Node], Any], b: Builder | None = None, prefix: str = "") -> fx.GraphModule:
    """A piece with one input of ``[tokens, WIDTH]``."""
    b = b or Builder()
    b.graph = fx.Graph()
    return b.finish(write(b, b.tokens(f"{prefix}x")))


def test_names_do_not_count() -> None:
    b = Builder()

    def write(b: Builder, x: fx.Node) -> fx.Node:
        return b.call(torch.add, b.call("sin", x), x, alpha=2)

    one, other = piece(write, b), piece(write, b, "layers_3_")
    for node in other.graph.nodes:
        if node.op != "output":
            node.name = f"other_{node.name}"
    assert structural_key(one) == structural_key(other)
    assert hash(structural_key(one)) == hash(structural_key(other))


def test_the_symbols_of_another_shape_env_are_others() -> None:
    def write(b: Builder, x: fx.Node) -> fx.Node:
        return b.call("sin", x)

    assert structural_key(piece(write)) != structural_key(piece(write))


CONSTANTS = [1, 1.0, True, -1, 0.0, -0.0, "1", None, 1 + 0j, (1,), [1], (1, 1), ((1,), 1), slice(1, None), {"a": 1}]


def test_constants_of_different_types_are_different() -> None:
    b = Builder()
    keys: list[object] = []
    for constant in CONSTANTS:

        def write(b: Builder, x: fx.Node, constant: Any = constant) -> fx.Node:
            return b.graph.call_function(torch.sin, (x, constant))

        keys.append(structural_key(piece(write, b)))
        assert keys[-1] == structural_key(piece(write, b))
    assert len(set(keys)) == len(CONSTANTS)


def test_nan_equals_itself() -> None:
    b = Builder()

    def write(b: Builder, x: fx.Node) -> fx.Node:
        return b.call(torch.mul, x, float("nan"))

    assert structural_key(piece(write, b)) == structural_key(piece(write, b))


def test_wiring_targets_and_results_count() -> None:
    b = Builder()

    def pair(b: Builder, x: fx.Node) -> tuple[fx.Node, fx.Node]:
        return b.call("sin", x), b.call("cos", x)

    pieces = [
        piece(lambda b, x: b.call(torch.sub, *pair(b, x)), b),
        piece(lambda b, x: b.call(torch.sub, *reversed(pair(b, x))), b),
        piece(lambda b, x: b.call(torch.add, *pair(b, x)), b),
        piece(lambda b, x: b.call("sub", *pair(b, x)), b),
        piece(lambda b, x: pair(b, x)[0], b),
        piece(lambda b, x: pair(b, x)[1], b),
        piece(lambda b, x: [*pair(b, x)], b),
        piece(lambda b, x: b.call(torch.add, *pair(b, x), alpha=1), b),
    ]
    assert len({structural_key(gm) for gm in pieces}) == len(pieces)


def _inputs(*values: torch.Tensor) -> fx.GraphModule:
    graph = fx.Graph()
    for index, value in enumerate(values):
        graph.placeholder(f"x{index}").meta["example_value"] = value
    graph.output(())
    return fx.GraphModule({}, graph)


def test_what_an_input_looks_like_counts() -> None:
    b = Builder()
    with b.mode:
        s = b.symbol
        base = torch.empty(s, 8)
        values = [
            base,
            torch.empty(s, 9),
            torch.empty(2 * s, 8),
            torch.empty(s + 1, 8),
            torch.empty(4, 8),
            torch.empty(4, 8, dtype=torch.float64),
            torch.empty(8, 4).t(),
            torch.empty(4, 9)[:, 1:],
            torch.empty(4, 9)[:, :8],
            torch.empty(4, 8, device="meta"),
            torch.empty(4, 8, requires_grad=True),
            torch.empty(4, 8, 1),
        ]
    keys = [structural_key(_inputs(value)) for value in values]
    assert len(set(keys)) == len(values)
    assert keys == [structural_key(_inputs(value)) for value in values]


def test_inputs_that_share_memory_count() -> None:
    b = Builder()
    with b.mode:
        one, other = torch.empty(4, 8), torch.empty(4, 8)
        assert structural_key(_inputs(one, other)) != structural_key(_inputs(one, one.view(4, 8)))
        assert structural_key(_inputs(one, other)) == structural_key(_inputs(other, one))


def _holding(value: object) -> fx.GraphModule:
    root = torch.nn.Module()
    root.held = value
    graph = fx.Graph()
    graph.output((graph.get_attr("held"),))
    return fx.GraphModule(root, graph)


def test_what_a_piece_holds_counts_by_its_contents() -> None:
    def body(target: Callable[..., Any], name: str) -> fx.GraphModule:
        graph = fx.Graph()
        graph.output(graph.call_function(target, (graph.placeholder(name),)))
        return fx.GraphModule({}, graph)

    key = structural_key(_holding(torch.arange(3)))
    assert key == structural_key(_holding(torch.arange(3)))
    assert key != structural_key(_holding(torch.arange(3).flip(0)))
    assert key != structural_key(_holding(torch.arange(3, dtype=torch.int32)))
    assert structural_key(_holding(body(torch.sin, "a"))) == structural_key(_holding(body(torch.sin, "b")))
    assert structural_key(_holding(body(torch.sin, "a"))) != structural_key(_holding(body(torch.cos, "a")))
    large = torch.zeros(5000)
    assert structural_key(_holding(large)) == structural_key(_holding(large))
    assert structural_key(_holding(large)) != structural_key(_holding(large.clone()))


def _norms(b: Builder, x: fx.Node, eps: float, power: int = 2, name: str = "a") -> fx.Node:
    variance = b.call("mean", b.call("pow", x, power), (-1,), keepdim=True)
    return b.call(cutting.named.default, b.call(torch.mul, x, b.call(torch.add, variance, eps)), name)


def item(number: int, gm: fx.GraphModule) -> SplitItem:
    return SplitItem(f"piece_{number:02}", number, is_splitting_graph=False, graph=gm)


def test_pieces_that_differ_in_constants_are_told_apart_in_words() -> None:
    b = Builder()
    one = item(2, piece(lambda b, x: _norms(b, x, 1e-5), b))
    other = item(4, piece(lambda b, x: _norms(b, x, 1e-6, power=3, name="b"), b))
    assert differences(one, one) == []
    assert differences(other, one) == [
        "piece_04 equals piece_02 but for a constant: node pow_1, argument 1: 3 != 2",
        "piece_04 equals piece_02 but for a constant: node add, argument 1: 1e-06 != 1e-05",
        "piece_04 equals piece_02 but for a constant: node named_default, argument 1: 'b' != 'a'",
    ]


def test_a_constant_inside_an_argument_is_named_by_its_place() -> None:
    b = Builder()
    one = item(0, piece(lambda b, x: b.call("sum", x, dim=(0, 1)), b))
    other = item(1, piece(lambda b, x: b.call("sum", x, dim=(0, -1)), b))
    assert differences(one, other) == [
        "piece_00 equals piece_01 but for a constant: node sum_1, argument dim[1]: 1 != -1"
    ]


def test_pieces_that_differ_in_more_than_constants_have_no_differences_to_name() -> None:
    b = Builder()
    one = item(0, piece(lambda b, x: b.call("sin", x), b))
    others = [
        piece(lambda b, x: b.call("cos", x), b),
        piece(lambda b, x: b.call("sin", b.call("sin", x)), b),
        piece(lambda b, x: b.call("view", x, b.call(operator.getitem, b.call("size", x), 0), WIDTH), b),
    ]
    assert [differences(one, item(1, other)) for other in others] == [[], [], []]


def test_the_pieces_of_equal_layers_are_equal() -> None:
    b = Builder()
    x = b.tokens("x")
    weights = [b.weight(f"layers_{index}_w") for index in range(6)]
    for weight in weights:
        y = b.call(torch.empty_like, x)
        b.call(cutting.attend.default, b.call("view", x, b.size, WIDTH), y)
        x = b.call(torch.add, b.call(torch.matmul, y, weight), x)
    _, items = split(b.finish(x))
    keys = [structural_key(item.graph) for item in items if not item.is_splitting_graph]
    assert len(keys) == 7
    assert len(set(keys)) == 3  # the first layer begins, the last ends
    assert len(set(keys[1:-1])) == 1


@pytest.mark.parametrize("nodes", [500, 2000])
def test_a_node_costs_little_however_many_there_are(nodes: int) -> None:
    b = Builder()
    x = b.tokens("x")
    for index in range(nodes):
        x = b.graph.call_function(torch.add, (x, index), {"alpha": 2})
        x.meta["example_value"] = value_of(b.size)
    gm = b.finish(x)
    assert steps(lambda: structural_key(gm)) / nodes < 200  # 117
