"""What a model leaves behind in Python for its next call: refused, where a graph would be wrong from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.models import close
from torch import nn

import cutaway
from cutaway.compiler import CompiledModel
from cutaway.errors import CaptureError

calls_of_all = 0


class Keeps(nn.Module):
    """A function of the model itself and of its input, with places to write to."""

    def __init__(self, then: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.then = then
        self.calls = 0
        self.training_flag = True
        self.log: list[Any] = []
        self.by_name: dict[str, Any] = {"sum": torch.zeros(8)}
        self.last: Any = None
        self.plain = torch.zeros(8)
        self.register_buffer("state", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.then(self, x)


def compiled(model: nn.Module, **config: Any) -> CompiledModel:
    return cutaway.compile(model, {"backend": "eager", "disable_cache": True, **config}, dynamic_arg_dims={"x": 0})


def _counts(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls += 1
    return x * self.calls


def _logs(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.log.append(x.sum())
    return x + len(self.log)


def _names(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.by_name["new"] = x
    return x + len(self.by_name)


def _remembers(self: Any, x: torch.Tensor) -> torch.Tensor:
    y = x + 1 if self.last is None else x + self.last.sum()
    self.last = x
    return y


def _deletes(self: Any, x: torch.Tensor) -> torch.Tensor:
    del self.calls
    return x + 1


def _global(self: Any, x: torch.Tensor) -> torch.Tensor:
    global calls_of_all  # noqa: PLW0603  (that is what is refused)
    calls_of_all += 1
    return x + calls_of_all


def _registers(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.register_buffer("new", x.sum(0))
    return x + 1


class Counting(nn.Module):
    """A layer that counts; several are captured as regions."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(x) * self.calls


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Counting() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize(
    ("then", "name", "line"),
    [
        (_counts, "self.calls", "self.calls += 1"),
        (_logs, "self.log", "self.log.append(x.sum())"),
        (_names, "self.by_name", 'self.by_name["new"] = x'),
        (_remembers, "self.last", "self.last = x"),
        (_deletes, "self.calls", "del self.calls"),
        (_global, "the global ", "calls_of_all += 1"),
        (_registers, "self._buffers", 'self.register_buffer("new", x.sum(0))'),
    ],
)
def test_what_the_next_call_would_find_otherwise_is_refused(then: Callable[..., Any], name: str, line: str) -> None:
    with pytest.raises(CaptureError) as caught:
        compiled(Keeps(then))(torch.ones(3, 8))
    assert name in caught.value.what
    assert "test_writes.py:" in caught.value.why
    assert line in caught.value.why
    assert "a buffer, written in place" in caught.value.cure


@pytest.mark.parametrize("off", [[], ["regions"]])
def test_in_layers_that_repeat(off: list[str]) -> None:
    with pytest.raises(CaptureError, match=r"layers\.0\.calls, .*self\.calls \+= 1"):
        compiled(Stack(), off=off)(torch.ones(3, 8))


def test_in_a_function_around_and_in_an_object_that_is_given() -> None:
    calls = 0

    def around(self: Any, x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x * calls

    with pytest.raises(CaptureError, match=r"a variable around the function self\.then, .*calls \+= 1"):
        compiled(Keeps(around))(torch.ones(3, 8))

    class Notes:
        number = 0

    class Given(nn.Module):
        def forward(self, x: torch.Tensor, notes: Any) -> torch.Tensor:
            notes.number += 1
            return x * notes.number

    with pytest.raises(CaptureError, match=r"changes notes\.number, "):
        compiled(Given())(torch.ones(3, 8), Notes())


def test_by_a_hook() -> None:
    model, seen = Keeps(lambda self, x: self.inner(x)), list[Any]()
    model.inner = nn.Linear(8, 8)
    model.inner.register_forward_hook(lambda module, args, out: seen.append(out))
    with pytest.raises(CaptureError, match=r"changes .*test_writes\.py:"):
        compiled(model)(torch.ones(3, 8))


def _in_place(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.state.add_(x.sum(0))
    self.plain[0] = self.state.sum()
    return x + self.state + self.plain


def _replaced(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.state = self.state + x.sum(0)
    self.plain = self.plain * 2 + 1
    self.by_name["sum"] = self.by_name["sum"] + 3
    return x + self.state + self.plain + self.by_name["sum"]


def _restored(self: Any, x: torch.Tensor) -> torch.Tensor:
    before, self.training_flag = self.training_flag, False
    y = x + 1 if self.training_flag else x - 1
    self.training_flag = before
    own: list[Any] = []
    own.append(y)
    return own[0]


@pytest.mark.parametrize("then", [_in_place, _replaced, _restored])
def test_tensors_and_what_is_put_back_are_right_at_every_call(then: Callable[..., Any]) -> None:
    eager, model = Keeps(then), Keeps(then)
    run = compiled(model)
    for number in (3, 5, 2):
        x = torch.randn(number, 8)
        close(run(x), eager(x))
    close(model.get_buffer("state"), eager.get_buffer("state"))


def test_a_tensor_put_in_anothers_place_is_refused_with_cuda_graphs() -> None:
    """They find tensors by their addresses."""
    with pytest.raises(CaptureError, match=r"changes self\.(plain|state), "):
        compiled(Keeps(_replaced), cudagraph_mode="PIECEWISE")(torch.ones(3, 8))
    compiled(Keeps(_in_place), cudagraph_mode="PIECEWISE")(torch.ones(3, 8))


def test_containers_that_are_given_may_be_written_to() -> None:
    class Given(nn.Module):
        def forward(self, x: torch.Tensor, outs: list[Any], by_name: dict[str, Any]) -> torch.Tensor:
            outs.append(x * 2)
            by_name["first"] = x + 1
            return x + len(outs)

    run = compiled(Given())
    for number in (3, 5):
        x, outs, by_name = torch.randn(number, 8), list[Any](), dict[str, Any]()
        close(run(x, outs, by_name), x + 1)
        close(outs[0], x * 2)
        close(by_name["first"], x + 1)
