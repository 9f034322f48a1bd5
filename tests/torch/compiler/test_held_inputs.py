"""Weights that have become others since the model was captured, and arguments laid out otherwise, are errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import cutaway
from cutaway.compiler import CompiledModel
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.link import hold
from cutaway.compiler.link.plan import Plan
from cutaway.errors import InputError


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.layer = nn.Linear(4, 4)
        self.register_buffer("table", torch.ones(4, 3).t())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * self.scale) @ self.get_buffer("table").t()


class Wrapped(torch.Tensor):
    pass


def compiled(model: nn.Module, *example: torch.Tensor, **config: Any) -> CompiledModel:
    one = cutaway.compile(model, {"disable_cache": True, "backend": "eager", **config})
    one(*example)
    return one


def _weight(model: Norm, value: torch.Tensor) -> None:
    model.layer.weight.data = value


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        (lambda m: m.double(), "scale", "its dtype is torch.float64, and was torch.float32"),
        (lambda m: m.layer.bfloat16(), "layer.weight", "its dtype is torch.bfloat16"),
        (lambda m: _weight(m, torch.randn(4, 4).t()), "layer.weight", "its strides are (1, 4), and were (4, 1)"),
        (lambda m: _weight(m, torch.randn(8, 4)), "layer.weight", "its shape is [8, 4], and was [4, 4]"),
        (lambda m: setattr(m, "table", torch.ones(3, 4)), "table", "its strides are (4, 1), and were (1, 3)"),
        (lambda m: m.to("meta"), "scale", "it is on meta, and was on cpu"),
        (
            lambda m: setattr(m, "table", torch.ones(4, 3).t().as_subclass(Wrapped)),
            "table",
            "it is a Wrapped, and was a Tensor",
        ),
    ],
    ids=["all", "layer", "strides", "shape", "buffer", "device", "class"],
)
def test_a_weight_that_became_another_is_named(change: Callable[[Norm], Any], name: str, text: str) -> None:
    model = Norm()
    one = compiled(model, torch.randn(3, 4))
    change(model)
    with pytest.raises(InputError) as caught:
        one(torch.randn(3, 4))
    assert repr(name) in caught.value.what
    assert text in caught.value.why
    assert "compile it after the change" in caught.value.cure


def test_other_weights_of_the_same_form_are_taken() -> None:
    model = Norm()
    one = compiled(model, torch.randn(3, 4))
    x = torch.randn(5, 4)
    model.layer = nn.Linear(4, 4)
    model.scale.data = torch.randn(4)
    torch.testing.assert_close(one(x), model(x).detach())
    model.load_state_dict({**model.state_dict(), "scale": torch.randn(4)}, assign=True)
    torch.testing.assert_close(one(x), model(x).detach())
    model.double()
    model.float()
    torch.testing.assert_close(one(x), model(x).detach())


def test_each_weight_is_looked_at_only_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    wrong = hold.HeldInput.wrong

    def counted(self: hold.HeldInput, value: torch.Tensor) -> str | None:
        looked.append(self.name)
        return wrong(self, value)

    monkeypatch.setattr(hold.HeldInput, "wrong", counted)
    model = Norm()
    one = compiled(model, torch.randn(3, 4))
    assert sorted(looked) == ["layer.bias", "layer.weight", "scale", "table"]
    for number in (2, 3, 4):
        one(torch.randn(number, 4))
    assert len(looked) == 4
    for _ in range(3):
        with torch.inference_mode():
            one(torch.randn(3, 4))
        one(torch.randn(3, 4))
    assert len(looked) == 8


def test_what_is_held_is_kept_with_the_plan() -> None:
    held = hold.HeldInput(2, "layer.weight", "float32", "cpu", (4, 3), (1, 4))
    plan = Plan("", (), [], (Range(1, 8),), (0, 0), held_inputs=(held,))
    assert Plan.from_bytes(plan.to_bytes()) == plan


class Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1


@pytest.mark.parametrize(
    ("example", "wrong"),
    [
        (lambda n: torch.randn(3, n).t(), lambda n: torch.randn(n, 3)),
        (lambda n: torch.randn(3, n).t(), lambda n: torch.randn(n, 6)[:, ::2]),
        (lambda n: torch.randn(3, n).t(), lambda n: torch.randn(3, n + 1)[:, :n].t()),
        (lambda n: torch.randn(n, 8)[:, :3], lambda n: torch.randn(n, 3)),
        (lambda n: torch.randn(1, 3).expand(n, 3), lambda n: torch.randn(n, 3)),
        (lambda n: torch.randn(n, 1).expand(n, 3), lambda n: torch.randn(n, 3)),
        (lambda n: torch.randn(5, n, 3).transpose(0, 1), lambda n: torch.randn(n, 3, 5).transpose(1, 2)),
    ],
    ids=["turned", "every_second", "longer_rows", "columns", "rows_repeated", "columns_repeated", "middle"],
)
def test_strides_hang_together_as_in_the_example(
    example: Callable[[int], torch.Tensor], wrong: Callable[[int], torch.Tensor]
) -> None:
    one = compiled(Sine(), example(6))
    for number in (2, 5, 9):
        x = example(number)
        torch.testing.assert_close(one(x), x.sin() + 1)
        with pytest.raises(InputError, match="'x'") as caught:
            one(wrong(number))
        assert f"its strides are {wrong(number).stride()}, and those of the example were" in caught.value.why
    one(example(1))


def test_strides_of_a_dimension_of_one_do_not_count() -> None:
    one = compiled(Sine(), torch.randn(3, 6).t())
    assert one(torch.randn(1, 3)).shape == (1, 3)


def test_an_example_of_one_that_is_not_contiguous_stands_for_larger_ones() -> None:
    buffer = torch.randn(3, 12)
    one = cutaway.compile(Sine(), {"disable_cache": True, "backend": "eager"}, dynamic_arg_dims={"x": 1})
    for number in (1, 5, 11, 1):
        x = buffer[:, :number]
        torch.testing.assert_close(one(x), x.sin() + 1)


def test_a_subclass_of_tensor_is_not_taken_for_a_tensor() -> None:
    x = torch.randn(3, 4)
    one = compiled(Sine(), x)
    with pytest.raises(InputError, match="It is a Wrapped, and was a tensor"):
        one(x.as_subclass(Wrapped))
    torch.testing.assert_close(one(nn.Parameter(x)), one(x))
