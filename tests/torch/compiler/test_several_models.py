"""Models in one process do not disturb each other: results, counters, names, threads, what the caller keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from compiler.models import SPLITTING, Block, Decoder, close, decoder, rows, same, tokens
from recordings import check, recorded

import cutaway
from cutaway.compiler import CompilationConfig, set_model_tag, set_on_compilation_complete
from cutaway.compiler.api import CompiledModel

CONFIG = CompilationConfig(splitting_ops=SPLITTING, backend="eager", max_batch=300)


def two() -> list[Decoder]:
    return [decoder(layers=3, hidden=16), decoder(layers=2, hidden=32, experts=4)]


def test_two_models_by_turns() -> None:
    models = two()
    compiled = [cutaway.compile(model, CONFIG) for model in models]
    for number in (16, 1, 300):
        for model, one in zip(models, compiled, strict=True):
            same(model, one, number)
    assert [one.counters.backend_compilations for one in compiled] == [3, 3]
    assert [one.counters.pieces_repeated for one in compiled] == [1, 0]
    with compiled[0].counters.expect(backend_compilations=0), compiled[1].counters.expect(backend_compilations=0):
        for model, one in zip(models, compiled, strict=True):
            same(model, one, 77)


def test_the_same_model_twice_with_different_ranges() -> None:
    model = decoder(layers=3, hidden=16)
    narrow = cutaway.compile(model, {"splitting_ops": SPLITTING, "backend": "eager", "max_batch": 8})
    wide = cutaway.compile(model, CONFIG)
    same(model, narrow, 8)
    same(model, wide, 300)
    with pytest.raises(cutaway.InputError, match="batch size 9 lies outside"):
        narrow(tokens(9))
    same(model, wide, 9)
    assert narrow.counters.backend_compilations == wide.counters.backend_compilations == 3


def test_weights_are_read_at_the_call() -> None:
    model = decoder(layers=2, hidden=16)
    compiled = cutaway.compile(model, CONFIG)
    same(model, compiled, 5)
    with torch.no_grad():
        model.head.weight.mul_(2)
        model.embed.weight = torch.nn.Parameter(torch.randn_like(model.embed.weight))
    same(model, compiled, 5)


def test_two_models_of_one_class_have_their_own_weights() -> None:
    torch.manual_seed(1)
    models = [Block(), Block()]
    compiled = [cutaway.compile(model, {"backend": "eager"}) for model in models]
    x = rows(4)
    for model, one in zip(models, compiled, strict=True):
        close(one(x), model(x).detach())
    assert not compiled[0](x).equal(compiled[1](x))


def test_tags_are_of_the_block_in_which_a_model_was_compiled(tmp_path: Path) -> None:
    backbone = cutaway.compile(Block(), {"backend": "eager"})
    with set_model_tag("eagle_head"):
        head = cutaway.compile(Block(), {"backend": "eager"})
    named = cutaway.compile(Block(), {"backend": "eager"}, tag="drafter")
    with cutaway.record(tmp_path):
        for model in (named, head, backbone):
            model(rows(4))
    assert [model.session.tag for model in (backbone, head, named)] == ["backbone", "eagle_head", "drafter"]
    assert sorted(recorded(tmp_path).compilations) == ["backbone", "drafter", "eagle_head"]
    check(tmp_path)


def test_callbacks_are_of_the_block_in_which_a_model_was_compiled() -> None:
    heard: list[str] = []
    with set_on_compilation_complete(lambda: heard.append("outer")):
        first = cutaway.compile(Block(), {"backend": "eager"})
        with set_on_compilation_complete(lambda: heard.append("inner")):
            second = cutaway.compile(Block(), {"backend": "eager"})
    third = cutaway.compile(Block(), {"backend": "eager"})
    for model, wanted in ((third, []), (second, ["outer", "inner"]), (second, []), (first, ["outer"])):
        heard.clear()
        model(rows(4))
        assert heard == wanted


class TestWhatTheCallerKeeps:
    def test_an_input_may_go_to_models_that_vary_in_other_dimensions(self) -> None:
        x = torch.randn(8, 8)
        rows_vary, columns_vary = Block(), Columns()
        for model, dim in ((rows_vary, 0), (columns_vary, 1), (rows_vary, 0)):
            compiled = cutaway.compile(model, {"backend": "eager"}, dynamic_arg_dims={"x": dim})
            close(compiled(x), model(x).detach())

    def test_marks_of_the_caller_stay_and_ours_go(self) -> None:
        x = torch.randn(8, 8)
        cutaway.compile(Block(), {"backend": "eager"})(x)
        assert vars(x) == {}
        torch._dynamo.mark_dynamic(x, 1)
        before = set(x._dynamo_dynamic_indices)  # pyright: ignore[reportAttributeAccessIssue]
        cutaway.compile(Columns(), {"backend": "eager"}, dynamic_arg_dims={"x": 1})(x)
        assert x._dynamo_dynamic_indices == before  # pyright: ignore[reportAttributeAccessIssue]

    def test_the_class_is_as_it_was(self) -> None:
        model = decoder(layers=4, hidden=16)
        forwards = {type(module): type(module).forward for module in model.modules()}
        cutaway.compile(model, CONFIG)(tokens(4))
        assert {kind: kind.forward for kind in forwards} == forwards

    def test_torch_compile_of_the_same_model_is_undisturbed(self) -> None:
        model = decoder(layers=3, hidden=16)
        compiled = cutaway.compile(model, CONFIG)
        same(model, compiled, 16)
        same(model, torch.compile(model, backend="eager"), 16)
        same(model, compiled, 3)


class Columns(torch.nn.Module):
    """Its input is ``[8, tokens]``: the first dimension is fixed by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(4, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight @ x


def in_threads(*work: Callable[[], None]) -> list[BaseException]:
    """Run all at once; returns what was raised."""
    raised: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  (handed over, whatever it is)
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


class TestThreads:
    @pytest.mark.parametrize("off", [[], ["regions"]])
    def test_many_call_models_that_nobody_compiled_yet(self, off: list[str]) -> None:
        models = two()
        compiled = [cutaway.compile(model, {**vars(CONFIG), "off": off}) for model in models]
        ids = tokens(16)

        def work(model: Decoder, one: CompiledModel) -> Callable[[], None]:
            with torch.no_grad():
                wanted = model(ids)
            return lambda: close(one(ids), wanted)

        pairs = zip(models, compiled, strict=True)
        assert in_threads(*(work(model, one) for model, one in pairs for _ in range(3))) == []
        assert [one.counters.backend_compilations for one in compiled] == [3, 3]
        assert [one.counters.graphs_seen for one in compiled] == [1, 1]

    def test_the_model_runs_uncompiled_while_it_is_being_compiled(self) -> None:
        model = decoder(layers=6, hidden=16)
        compiled = cutaway.compile(model, CONFIG)
        done = threading.Event()
        calls = 0

        def compiling() -> None:
            try:
                compiled(tokens(4))
            finally:
                done.set()

        def running() -> None:
            nonlocal calls
            with torch.no_grad():
                ids = tokens(4)
                wanted = model(ids)
                while not done.is_set() or not calls:
                    close(model(ids), wanted)
                    calls += 1

        assert in_threads(compiling, running) == []
        assert calls
