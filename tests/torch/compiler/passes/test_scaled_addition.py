"""What Inductor's addmm pattern forgets is written out before it can."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from compiler.passes.rewriting import assert_graph, assert_rewritten_safely, numbers, run_pass, traced
from torch import Tensor, nn

import cutaway
from cutaway.compiler.passes.scaled_addition import ScaledAddition

aten = torch.ops.aten


def second(x: Tensor, w: Tensor) -> Any:
    return aten.add(x, aten.mm(x, w), alpha=2)


def first(x: Tensor, w: Tensor) -> Any:
    return aten.add(aten.mm(x, w), x, alpha=3)


def behind_a_view(x: Tensor, w: Tensor) -> Any:
    return aten.add(x.view(2, 2, 4), aten.view(aten.mm(x, w), [2, 2, 4]), alpha=2)


def both(x: Tensor, w: Tensor) -> Any:
    return aten.add(aten.mm(x, w), aten.mm(w, x), alpha=-1)


@pytest.mark.parametrize("function", [second, first, behind_a_view, both])
def test_it_is_written_out(function: Any) -> None:
    inputs = [numbers(4, 4), numbers(4, 4, seed=1)]
    gm = traced(function, *inputs)
    before = copy.deepcopy(gm)
    assert run_pass(ScaledAddition(), gm).counts == {"additions": 1}
    assert not any("alpha" in node.kwargs for node in gm.graph.nodes)
    assert_rewritten_safely(before, gm, inputs)


def test_how() -> None:
    gm = traced(second, numbers(4, 4), numbers(4, 4))
    run_pass(ScaledAddition(), gm)
    assert_graph(
        gm,
        """
        %x_1 = input
        %w_1 = input
        %mm = aten.mm.default(%x_1, %w_1)
        %mul_tensor = aten.mul.Tensor(%mm, 2)
        %add = aten.add.Tensor(%x_1, %mul_tensor)
        return %add
        """,
    )


def unscaled(x: Tensor, w: Tensor) -> Any:
    return aten.add(x, aten.mm(x, w), alpha=1)


def no_product(x: Tensor, w: Tensor) -> Any:
    return aten.add(x, aten.neg(w), alpha=2)


def no_longer_a_product(x: Tensor, w: Tensor) -> Any:
    return aten.add(x, aten.relu(aten.mm(x, w)), alpha=2)


@pytest.mark.parametrize("function", [unscaled, no_product, no_longer_a_product])
def test_what_inductor_does_right_stays(function: Any) -> None:
    gm = traced(function, numbers(4, 4), numbers(4, 4))
    assert run_pass(ScaledAddition(), gm).counts == {}


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.one(x), alpha=2) + torch.sub(self.one(x), self.other(x), alpha=3)


@pytest.fixture(name="case", scope="module")
def _case() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model, x = Scaled().eval(), torch.randn(4, 16)
    with torch.no_grad():
        return model, x, model(x)


@pytest.mark.parametrize("off", [[], ["passes"]])
def test_a_compiled_model_computes_what_the_model_does(case: tuple[nn.Module, Tensor, Tensor], off: list[Any]) -> None:
    model, x, expected = case
    with torch.no_grad():
        found = cutaway.compile(model, {"off": off, "disable_cache": True})(x)
    torch.testing.assert_close(found, expected)


def test_torch_alone_does_not(case: tuple[nn.Module, Tensor, Tensor]) -> None:
    """When this fails, torch keeps the scale by itself, and the pass can go."""
    model, x, expected = case
    torch._dynamo.reset()
    with torch.no_grad():
        found = torch.compile(model)(x)
    assert not torch.allclose(found, expected, atol=1e-3)
