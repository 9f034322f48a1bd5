"""Attributes of a compiled model that are set or deleted: honoured, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.models import close, rows
from torch import nn

import cutaway
from cutaway.compiler import CompiledModel
from cutaway.errors import CaptureError, ConfigError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.tied = nn.Linear(8, 8)
        self.also = self.tied
        self.scale = 2.0
        self.register_buffer("shift", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.also(self.tied(self.linear(x))) * self.scale + self.shift).relu()


def compiled(**config: Any) -> tuple[Model, CompiledModel]:
    model = Model()
    return model, cutaway.compile(model, {"backend": "eager", "disable_cache": True, **config})


def test_before_the_first_call_anything_goes_to_the_model() -> None:
    model, run = compiled()
    layer = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    run.linear, run.scale = layer, 3.0
    del run.also
    run.also = nn.Identity()
    assert model.linear is layer
    assert isinstance(model.also, nn.Identity)
    x = rows(4)
    close(run(x), model(x).detach())
    assert "linear.0.weight" in run.state_dict()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda run: setattr(run, "linear", nn.Linear(8, 8)), id="a-layer-of-the-same-kind"),
        pytest.param(lambda run: setattr(run.linear, "weight", nn.Parameter(torch.ones(8, 8))), id="a-weight"),
        pytest.param(lambda run: setattr(run, "shift", torch.ones(8)), id="a-buffer"),
        pytest.param(lambda run: setattr(run, "scale", 2.0), id="the-same-value"),
        pytest.param(lambda run: setattr(run, "note", "anything"), id="an-attribute-that-was-not-there"),
        pytest.param(lambda run: run.eval(), id="eval"),
    ],
)
def test_afterwards_what_is_of_the_same_kind(change: Callable[[Any], Any]) -> None:
    model, run = compiled()
    run(rows(3))
    change(run)
    x = rows(5)
    with run.counters.expect(graphs_seen=0):
        close(run(x), model(x).detach())
    assert "linear" not in vars(run)
    assert [name for name, _ in run.named_children()] == ["_orig_mod"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("linear", nn.Linear(8, 8, bias=False), "other values on it"),
        ("linear", nn.Sequential(nn.Linear(8, 8)), "another class"),
        ("linear", nn.Identity(), "another class"),
        ("tied", nn.Linear(8, 8), "in other places of the model"),
        ("scale", 3.0, "2.0 was compiled in"),
    ],
)
def test_afterwards_anything_else_is_refused_and_nothing_changes(name: str, value: Any, why: str) -> None:
    model, run = compiled()
    x = rows(3)
    before = run(x)
    with pytest.raises(CaptureError) as caught:
        setattr(run, name, value)
    assert repr(name) in caught.value.what
    assert why in caught.value.why
    assert "before the first call" in caught.value.cure
    assert getattr(model, name) is not value
    close(run(x), before)


def test_what_is_compiled_in_cannot_be_deleted() -> None:
    model, run = compiled()
    run(rows(3))
    with pytest.raises(CaptureError, match=r"'scale' .* deleted"):
        del run.scale
    assert model.scale == 2.0


def test_with_cuda_graphs_the_tensors_stay_where_they_are() -> None:
    _, run = compiled(cudagraph_mode="PIECEWISE")
    run(rows(3))
    for name, value in (("linear", nn.Linear(8, 8)), ("shift", torch.ones(8))):
        with pytest.raises(CaptureError, match="addresses; copy into the old ones"):
            setattr(run, name, value)


def test_switched_off_everything_is_free() -> None:
    model, run = compiled(off=["compile"])
    run(rows(3))
    run.linear = nn.Identity()
    x = rows(3)
    close(run(x), model(x).detach())


def test_its_forward_is_not_the_models() -> None:
    _, run = compiled()
    with pytest.raises(ConfigError, match="then compile that"):
        run.forward = lambda x: x
