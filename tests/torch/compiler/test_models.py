"""Whole models, compiled and not, give the same, for every batch size, with no compile after the first call."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler import huggingface, models
from compiler.models import Block, close, decoder, rows, tokens
from torch import nn

import cutaway
from cutaway.compiler.api import CompiledModel

RANGES = {"compile_ranges": [(1, 16), (17, 300)], "compile_sizes": [8, 64]}


@dataclass
class Case:
    """A model, how it is compiled, and how it is called."""

    make: Callable[[], nn.Module]
    config: dict[str, Any]
    dims: dict[str, int] | None = None
    call: Callable[[Any, torch.Tensor], torch.Tensor] = lambda model, ids: model(ids)

    def compiled(self, **config: Any) -> tuple[nn.Module, CompiledModel]:
        """The model and the same one compiled: its first call is over."""
        model = self.make()
        compiled = cutaway.compile(model, {**self.config, **config}, dynamic_arg_dims=self.dims)
        self.compare(model, compiled, 16)
        return model, compiled

    def compare(self, model: nn.Module, compiled: nn.Module, number: int) -> None:
        ids = tokens(number)
        with torch.no_grad():
            close(self.call(compiled, ids), self.call(model, ids))


HUGGING_FACE: dict[str, Any] = {
    "config": {"splitting_ops": huggingface.SPLITTING},
    "dims": {"input_ids": 1},
    "call": huggingface.logits,
}
PLAIN = {"splitting_ops": models.SPLITTING}
CASES = {
    "decoder": Case(lambda: decoder(layers=3, hidden=16), PLAIN),
    "experts": Case(lambda: decoder(layers=3, hidden=16, experts=4), PLAIN),
    "bfloat16": Case(lambda: decoder(layers=1, hidden=16).bfloat16(), PLAIN),
    "one layer": Case(lambda: decoder(layers=1, hidden=16), PLAIN),
    "llama": Case(huggingface.llama, **HUGGING_FACE),
    "qwen3": Case(huggingface.qwen3, **HUGGING_FACE),
}


def in_random_order(sizes: range | list[int]) -> list[int]:
    return random.Random(0).sample(list(sizes), len(sizes))


@pytest.mark.parametrize("name", CASES)
def test_every_batch_size_gives_what_the_model_gives_and_compiles_nothing(name: str) -> None:
    case = CASES[name]
    model, compiled = case.compiled(backend="eager", **RANGES)
    distinct = compiled.counters.pieces_to_compile - compiled.counters.pieces_repeated
    assert compiled.counters.backend_compilations == 4 * distinct
    with compiled.counters.expect(backend_compilations=0, graphs_seen=0, artifacts_loaded=0):
        for number in in_random_order(range(1, 301)):
            case.compare(model, compiled, number)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("one layer", {"compile_ranges": [(1, 16), (17, 300)], "compile_sizes": [8]}),
        ("experts", {"max_batch": 300}),
        ("bfloat16", {"max_batch": 300}),
        ("llama", {"max_batch": 300}),
    ],
)
def test_what_inductor_makes_of_it_gives_what_the_model_gives(name: str, config: dict[str, Any]) -> None:
    case = CASES[name]
    model, compiled = case.compiled(**config)
    with compiled.counters.expect(backend_compilations=0, graphs_seen=0, artifacts_loaded=0):
        for number in in_random_order([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 64, 100, 255, 256, 299, 300]):
            case.compare(model, compiled, number)


def test_layers_that_repeat_are_compiled_once() -> None:
    _, compiled = CASES["decoder"].compiled(backend="eager")
    counters = compiled.counters
    assert counters.pieces_seen == 7  # four compiled, three attentions
    assert counters.pieces_to_compile == 4
    assert counters.pieces_repeated == 1
    assert counters.backend_compilations == 3


@pytest.mark.parametrize("evaluate_guards", [False, True])
@pytest.mark.parametrize("kind", ["backed", "unbacked", "backed_size_oblivious"])
@pytest.mark.parametrize("name", ["decoder", "llama"])
class TestDynamicKinds:
    def test_all_give_the_same_for_every_size(self, name: str, kind: str, evaluate_guards: bool) -> None:
        case = CASES[name]
        model, compiled = case.compiled(
            backend="eager", dynamic_shapes=kind, evaluate_guards=evaluate_guards, max_batch=300
        )
        with compiled.counters.expect(backend_compilations=0, graphs_seen=0):
            for number in (1, 2, 300, 1, 17):
                case.compare(model, compiled, number)


class TestGuardsAtEveryCall:
    """That is what evaluate_guards is for: what else was assumed of a call is an error, not a wrong result."""

    def test_one_that_fails_is_named(self) -> None:
        case = CASES["llama"]
        model, compiled = case.compiled(backend="eager", evaluate_guards=True)
        ids = tokens(300).view(3, 100)[:1, :50]  # contiguous, but for a stride that nobody uses
        with pytest.raises(
            cutaway.InputError,
            match=r"a guard .*input_ids'\]\.stride\(0\) == .*shape\[1\]; now .*is 50.*is 100.*compile another copy",
        ):
            compiled(input_ids=ids, use_cache=False)
        case.compare(model, compiled, 50)

    def test_it_holds_for_a_batch_of_one_whatever_torchs_cache_assumed(self) -> None:
        block = Block()
        for kind in ("backed", "backed_size_oblivious"):
            config = {"evaluate_guards": True, "dynamic_shapes": kind, "max_batch": 8, "aot": False}
            compiled = cutaway.compile(block, config)
            for number in (4, 1, 8):
                x = rows(number)
                close(compiled(x), block(x).detach())


class TestABatchOfOne:
    """Dynamo takes 0 and 1 for constants, and every other size to be at least 2."""

    @pytest.mark.parametrize("name", ["decoder", "experts", "llama"])
    def test_it_may_come_first(self, name: str) -> None:
        case = CASES[name]
        model = case.make()
        compiled = cutaway.compile(model, {**case.config, "backend": "eager"}, dynamic_arg_dims=case.dims)
        for number in (1, 1, 5, 300):
            case.compare(model, compiled, number)

    def test_a_branch_that_only_it_takes_is_told_of(self) -> None:
        compiled = cutaway.compile(Block(lambda x: x + 1 if x.shape[0] == 1 else x - 1), {"backend": "eager"})
        with pytest.warns(
            RuntimeWarning, match=r"captured for Ne\(s\d+, 1\) .*test_models.py:\d+: .*x.shape\[0\] == 1"
        ):
            compiled(rows(5))

    def test_the_same_is_an_error_when_guards_count(self) -> None:
        block = Block(lambda x: x + 1 if x.shape[0] == 1 else x - 1)
        compiled = cutaway.compile(block, {"backend": "eager", "evaluate_guards": True})
        with pytest.raises(cutaway.CaptureError, match="a batch of 1 would take another way"):
            compiled(rows(5))

    def test_nothing_is_told_when_no_range_holds_it(self) -> None:
        block = Block(lambda x: x + 1 if x.shape[0] == 1 else x - 1)
        compiled = cutaway.compile(block, {"backend": "eager", "compile_ranges": [(2, 300)]})
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            compiled(rows(5))


def test_a_model_that_was_compiled_is_warm_in_the_next(tmp_path: Path) -> None:
    case = CASES["decoder"]
    case.compiled(max_batch=64, cache_dir=tmp_path)
    model, compiled = case.compiled(max_batch=64, cache_dir=tmp_path)
    assert compiled.counters.models_loaded == 1
    assert compiled.counters.backend_compilations == compiled.counters.graphs_seen == 0
    for number in (1, 2, 64):
        case.compare(model, compiled, number)
