"""A piece that writes to memory takes that memory once, whatever views of it the model made before the cut."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.graphs_to_split import Builder, assert_same_run, called, cutting, inputs, split
from torch import fx, nn
from torch.nn import functional

import cutaway
from cutaway.compiler.split.views import written_by


def test_a_view_of_what_a_later_piece_writes_to_is_made_in_that_piece() -> None:
    b = Builder()
    x = b.tokens("x")
    doubled = b.call(operator.mul, x, 2)
    turned = b.call("t", doubled)
    cut = b.call(cutting.scale.default, x)
    b.call("mul_", doubled, 0.5)
    gm = b.finish(b.call("sin", cut), b.call(operator.add, turned, 1))
    split_gm, items = split(gm)
    assert [called(item) for item in items] == [["mul"], ["scale_default"], ["mul_", "sin", "t_1", "add"]]
    assert inputs(items[2]).count("mul") == 1
    assert not {"t", "t_1"} & set(inputs(items[2]))
    assert_same_run(gm, split_gm)


def test_a_piece_that_only_reads_takes_what_it_took() -> None:
    b = Builder()
    x = b.tokens("x")
    doubled = b.call(operator.mul, x, 2)
    turned = b.call("t", doubled)
    cut = b.call(cutting.scale.default, x)
    gm = b.finish(b.call(operator.add, cut, doubled), b.call(operator.add, turned, 1))
    split_gm, items = split(gm)
    assert {"mul", "t"} <= set(inputs(items[2]))
    assert_same_run(gm, split_gm)


def test_two_views_are_made_of_what_they_are_views_of() -> None:
    b = Builder()
    x = b.tokens("x")
    doubled = b.call(operator.mul, x, 2)
    left, right = (b.call("narrow", doubled, 1, start, 4) for start in (0, 2))
    again = b.call("add_", left, 1)
    cut = b.call(cutting.scale.default, x)
    b.call("mul_", left, 0.5)
    gm = b.finish(cut, b.call(operator.add, right, again))
    split_gm, items = split(gm)
    assert [name for name in inputs(items[2]) if name != "s0"] == ["mul"]
    assert_same_run(gm, split_gm)


def test_a_tensor_that_is_given_another_shape_in_place_is_left_alone() -> None:
    b = Builder()
    x = b.tokens("x")
    doubled = b.call(operator.mul, x, 2)
    turned = b.call("view", doubled, -1)
    cut = b.call(cutting.scale.default, x)
    b.call("t_", doubled)
    b.call("mul_", doubled, 0.5)
    gm = b.finish(cut, b.call(operator.add, turned, 1))
    _, items = split(gm)
    assert "view" in inputs(items[2])


@pytest.mark.parametrize(
    ("target", "rest", "kwargs", "writes"),
    [
        (torch.add, (1,), {}, False),
        ("add", (1,), {}, False),
        ("add_", (1,), {}, True),
        ("__setitem__", (0, 1), {}, True),
        (operator.iadd, (1,), {}, True),
        (operator.add, (1,), {}, False),
        (operator.setitem, (0, 1), {}, True),
        (torch.relu_, (), {}, True),
        (functional.relu, (), {}, False),
        (functional.relu, (), {"inplace": True}, True),
        (functional.relu, (True,), {}, True),
        (torch.ops.aten.mul_, (2,), {}, True),
        (torch.ops.aten.mul.Tensor, (2,), {}, False),
        (cutting.bump, (), {}, True),
        (lambda x: x, (), {}, True),
    ],
    ids=[str(number) for number in range(15)],
)
def test_what_a_call_may_write_to(
    target: Callable[..., Any] | str, rest: tuple[Any, ...], kwargs: dict[str, Any], writes: bool
) -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    op = "call_method" if isinstance(target, str) else "call_function"
    assert written_by(graph.create_node(op, target, (x, *rest), kwargs)) == ([x] if writes else [])


def test_what_a_call_writes_its_result_into() -> None:
    graph = fx.Graph()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    assert written_by(graph.call_function(torch.add, (x, 1), {"out": y})) == [y]


class Views(nn.Module):
    """Writes and views on both sides of a cut."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        doubled = x * 2
        turned, folded = doubled.t(), doubled.reshape(-1, 2).reshape(-1, 8)
        left, right = (x + 1).chunk(2, 1)
        cut = cutting.scale(x)
        doubled.mul_(0.5)
        left.add_(1)
        return cut.sin(), turned + 1, folded, left * right, left


def test_a_compiled_model_computes_what_the_model_does() -> None:
    model = Views()
    compiled = cutaway.compile(model, {"disable_cache": True, "splitting_ops": ["cutting::scale"]})
    for number in (4, 7):
        x, y = torch.randn(2, number, 8)[0], torch.randn(number, 8)
        y.copy_(x)
        torch.testing.assert_close(compiled(y), model(x))
        torch.testing.assert_close(x, y)
