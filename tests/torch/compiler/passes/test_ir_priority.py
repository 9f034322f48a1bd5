"""The priority of a configuration is in force while a model is captured and compiled, and in its calls."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from compiler.passes.ir_models import SPLITTING, Given, Shifted, compiled, new_op, passes_shift
from torch import Tensor, nn

import cutaway
from cutaway.ops import enable_torch_wrap, register_op, set_priority

X = torch.ones(16, 4)
HUNDRED = {"passes_shift": ["hundred"]}


def expected(more: int) -> Tensor:
    """What `Shifted` returns when a provider adds so much more."""
    return ((X * 2 + 3 + more) * 10 + 4 + more) * 7


OFF: dict[str, Any] = {
    "inductor": {},
    "eager": {"backend": "eager"},
    "left whole": {"off": ["pass:ir_lowering"]},
    "no passes": {"off": ["passes"]},
    "nothing compiled": {"off": ["compile"]},
    "split": {"splitting_ops": SPLITTING},
    "a split at the op": {"splitting_ops": ["cutaway_ir::passes_shift"]},
    "unpacked": {"cache_format": "unpacked"},
}


@pytest.mark.parametrize("how", OFF)
def test_it_is_in_force_however_the_model_runs(how: str) -> None:
    made = compiled(Shifted(), ir_priority=HUNDRED, **OFF[how])
    for _ in range(2):
        assert torch.equal(made(X), expected(100))
    assert passes_shift.priority == ("native",)


@pytest.mark.parametrize("how", ["left whole", "a split at the op"])
def test_in_a_warm_start_too(how: str) -> None:
    for loaded in (0, 1):
        made = compiled(Shifted(), ir_priority=HUNDRED, **OFF[how])
        assert torch.equal(made(X), expected(100))
        assert (made.counters.models_loaded, made.counters.graphs_seen) == (loaded, 1 - loaded)


def test_in_every_thread_that_calls_it() -> None:
    made = compiled(Shifted(), ir_priority=HUNDRED, backend="eager")
    made(X)
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(made(X)))
    thread.start()
    thread.join()
    assert torch.equal(found[0], expected(100))


def test_it_wins_over_one_around_the_call_and_leaves_other_ops_alone() -> None:
    op = new_op()
    op.register_impl("more")(_more)
    made = compiled(_Both(op), ir_priority=HUNDRED, backend="eager")
    with set_priority({"passes_shift": ["native"], op.name: ["more"]}):
        assert torch.equal(made(X), X + 103 + 1003)
        assert passes_shift.priority == ("native",)
    assert torch.equal(made(X), X + 103 + 3)


def test_through_torchs_registry() -> None:
    options: Any = {"ir_priority": HUNDRED, "backend": "eager"}
    made = torch.compile(Shifted(), backend="cutaway", options=options)
    with torch.no_grad():
        assert torch.equal(made(X), expected(100))


def test_what_dynamo_traces_with_torch_wrapping_off() -> None:
    with enable_torch_wrap(False):
        made = compiled(Shifted(), ir_priority=HUNDRED, backend="eager")
        assert torch.equal(made(X), expected(100))


@pytest.mark.parametrize("off", [[], ["passes"], ["pass:ir_lowering"], ["inductor"]])
@pytest.mark.parametrize("provider", ["native", "inplace"])
def test_what_is_given_away_is_right_however_it_runs(off: list[str], provider: str) -> None:
    priority = {"passes_shift": [provider, "native"]}
    made = compiled(Given(give=True), ir_priority=priority, splitting_ops=SPLITTING, off=off)
    for rows in (16, 1, 64):
        x = torch.randn(rows, 4)
        kept = x.clone()
        torch.testing.assert_close(made(x), (kept * 2 + 3) * 5)
        assert torch.equal(x, kept)


def _more(x: Tensor, offset: float) -> Tensor:
    return x + offset + 1000


class _Both(nn.Module):
    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def forward(self, x: Tensor) -> Tensor:
        return self.other(passes_shift(x, 3.0), 3.0)


class TestBadInput:
    """Asked when the model is compiled: the module that registers an op may be imported after the configuration."""

    @pytest.mark.parametrize(
        ("priority", "text"),
        [
            ({"passes_shft": ["native"]}, "there is no op 'passes_shft'"),
            ({"passes_shift": ["hundert"]}, "op 'passes_shift' has no provider 'hundert'"),
            ({"passes_shift": ["nowhere"]}, "cannot run by the priority ['nowhere']"),
        ],
    )
    def test_what_there_is_not(self, priority: dict[str, list[str]], text: str) -> None:
        if "nowhere" not in passes_shift.impls:
            passes_shift.register_impl("nowhere", supported=False)(_more)
        made = compiled(Shifted(), ir_priority=priority)
        with pytest.raises(cutaway.CutawayError) as caught:
            made(X)
        assert text in str(caught.value)

    def test_the_op_may_be_registered_later(self) -> None:
        made = compiled(_Later(), ir_priority={"passes_later": ["native"]})
        register_op(name="passes_later")(lambda_free)
        assert torch.equal(made(X), X + 1)

    @pytest.mark.parametrize("wrong", [{"passes_shift": "hundred"}, {"passes_shift": 3}, ["passes_shift"]])
    def test_what_is_no_priority(self, wrong: Any) -> None:
        with pytest.raises(cutaway.ConfigError, match="ir_priority"):
            cutaway.CompilationConfig(ir_priority=wrong)


def lambda_free(x: Tensor) -> Tensor:
    """The op that is registered late."""
    return x + 1


class _Later(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.cutaway_ir.passes_later(x)
