"""Whatever a user gets wrong is an error of ours that says what, why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.models import Block, Experts, Sizes, close, decoder, rows, tokens
from torch import nn

import cutaway
from cutaway.compiler import CompiledModel
from cutaway.errors import CaptureError, CompileError, ConfigError, InputError, SplitError


def refused(error: type[CompileError], work: Callable[[], Any], *said: str) -> None:
    """Assert that it raises this error, with these words in what, why and cure, and none of the three empty."""
    with pytest.raises(error) as caught:
        work()
    found = caught.value
    assert type(found) is error
    for part, words in zip((found.what, found.why, found.cure), said, strict=True):
        assert words in part
        assert part


def compiled(then: Callable[..., Any] = torch.relu, **config: Any) -> CompiledModel:
    return cutaway.compile(Block(then), {"backend": "eager", "max_batch": 300, **config})


def _branch(x: torch.Tensor) -> torch.Tensor:
    return x + 1 if x.shape[0] > 10 else x - 1


def _loop(x: torch.Tensor) -> torch.Tensor:
    for number in range(x.shape[0]):
        x = x + number
    return x


def _on_data(x: torch.Tensor) -> torch.Tensor:
    return x + 1 if x.sum() > 0 else x - 1


def _print(x: torch.Tensor) -> torch.Tensor:
    print("here")
    return x


def _break(x: torch.Tensor) -> torch.Tensor:
    torch._dynamo.graph_break()
    return x + 1


class TestModelsThatCannotBeOneGraph:
    @pytest.mark.parametrize("kind", ["backed", "backed_size_oblivious"])
    def test_a_branch_on_the_batch_size(self, kind: str) -> None:
        model = compiled(_branch, dynamic_shapes=kind)
        refused(CaptureError, lambda: model(rows(16)), "> 10 only", "if x.shape[0] > 10 else x - 1", "torch.cond")
        refused(CaptureError, lambda: model(rows(4)), "<= 10 only", "a batch of 11 would take", "compile_ranges")

    def test_of_an_unbacked_batch_size_nobody_may_ask(self) -> None:
        model = compiled(_branch, dynamic_shapes="unbacked")
        refused(CaptureError, lambda: model(rows(16)), "as one graph", "u0 > 10", "take backed sizes")

    def test_a_branch_is_fine_where_all_sizes_take_one_side(self) -> None:
        block = Block(_branch)
        for first, last in ((11, 300), (1, 10)):
            one = cutaway.compile(block, {"backend": "eager", "compile_ranges": [(first, last)]})
            for number in (last, first):
                x = rows(number)
                close(one(x), block(x).detach())

    @pytest.mark.parametrize("then", [_loop, lambda x: x.view(16, 8) + 1, lambda x: x + torch.ones(16, 1)])
    def test_the_batch_size_as_a_plain_number(self, then: Callable[..., Any]) -> None:
        model = compiled(then)
        refused(CaptureError, lambda: model(rows(16)), "compiled in as 16", "test_bad_input.py", "keep it symbolic")

    @pytest.mark.parametrize("off", [[], ["regions"]])
    def test_a_branch_on_data(self, off: list[str]) -> None:
        model = compiled(_on_data, off=off)
        refused(CaptureError, lambda: model(rows(4)), "as one graph", "in _on_data)", "torch.where")

    def test_a_branch_on_data_in_layers_that_repeat(self) -> None:
        model = nn.Sequential(*(Block(_on_data) for _ in range(4)))
        one = cutaway.compile(model, {"backend": "eager"}, dynamic_arg_dims={"input": 0})
        refused(CaptureError, lambda: one(rows(4)), "as one graph", "in _on_data)", "torch.where")

    @pytest.mark.parametrize(("then", "word"), [(_print, "`print`"), (_break, "graph_break()")])
    def test_a_graph_break(self, then: Callable[..., Any], word: str) -> None:
        model = compiled(then)
        refused(CaptureError, lambda: model(rows(4)), "as one graph", word, "torch._dynamo.explain")

    def test_a_piece_that_the_compiler_fails_at_is_named(self) -> None:
        """Inductor asks whether an unbacked size is 1 when it multiplies batches of matrices."""
        model = cutaway.compile(Experts(Sizes(hidden=8, experts=4)), {"dynamic_shapes": "unbacked", "max_batch": 8})
        said = ("compile piece_00 for batch sizes 1_8", "Eq(u0, 1)", "take backed sizes")
        refused(CompileError, lambda: model(rows(4)), *said)

    def test_it_can_be_called_again_when_the_cause_is_gone(self) -> None:
        block = Block(_on_data)
        one = cutaway.compile(block, {"backend": "eager"})
        with pytest.raises(CaptureError):
            one(rows(4))
        block.then = torch.relu
        close(one(torch.ones(4, 8)), block(torch.ones(4, 8)).detach())


class TestConfigurations:
    def test_a_splitting_op_that_does_not_exist(self) -> None:
        model = cutaway.compile(decoder(layers=1), {"splitting_ops": ["toy::attentoin"], "backend": "eager"})
        refused(SplitError, lambda: model(tokens(4)), "'toy::attentoin'", "toy::attention", "correct the name")

    def test_a_splitting_op_of_another_form(self) -> None:
        model = cutaway.compile(decoder(layers=1), {"splitting_ops": ["toy.attention"], "backend": "eager"})
        refused(SplitError, lambda: model(tokens(4)), "'toy.attention'", "toy::attention", "namespace::name")

    def test_ranges_that_overlap(self) -> None:
        model = compiled(compile_ranges=[(1, 10), (10, 20)])
        refused(ConfigError, lambda: model(rows(4)), "[1, 10] and [10, 20] overlap", "both hold 10", "at 11")

    def test_a_single_size_outside_of_all_ranges(self) -> None:
        model = compiled(compile_sizes=[301])
        refused(ConfigError, lambda: model(rows(4)), "size 301 lies outside", "[1, 300]", "widen a range")

    def test_an_unknown_field(self) -> None:
        refused(ConfigError, lambda: compiled(compile_range=[]), "'compile_range'", "compile_ranges", "splitting_ops")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("compile_ranges", 3),
            ("compile_ranges", [(1, 2, 3)]),
            ("compile_ranges", [("1", "2")]),
            ("compile_sizes", ["8"]),
            ("splitting_ops", "toy::attention"),
            ("off", "inductor"),
            ("post_grad_passes", [3]),
            ("inductor", 3),
        ],
    )
    def test_a_field_of_a_wrong_type(self, field: str, value: Any) -> None:
        refused(ConfigError, lambda: compiled(**{field: value}), f"{field} cannot", "it takes", "")

    @pytest.mark.parametrize(
        ("field", "value", "near"),
        [
            ("off", ["inducktor"], "inductor"),
            ("dynamic_shapes", "unbaked", "UNBACKED"),
            ("cudagraph_mode", "PICEWISE", "PIECEWISE"),
        ],
    )
    def test_a_word_that_is_none_of_the_choices(self, field: str, value: Any, near: str) -> None:
        refused(ConfigError, lambda: compiled(**{field: value}), "", f"did you mean {near}", "choose of")

    @pytest.mark.parametrize("backend", ["inducktor", "no.such.module", "torch.nn.Linear", "cutaway.compile"])
    def test_a_backend_that_is_none(self, backend: str) -> None:
        with pytest.raises(ConfigError, match=f"{backend}.*inductor, eager, or the dotted name of a class"):
            compiled(backend=backend)(rows(4))

    @pytest.mark.parametrize("model", [torch.relu, Block, None])
    def test_what_is_no_module(self, model: Any) -> None:
        with pytest.raises(ConfigError, match=r"takes a torch.nn.Module, and was given a \w+"):
            cutaway.compile(model)


class TestDynamicDimensions:
    def test_an_unknown_argument(self) -> None:
        model = cutaway.compile(Block(), dynamic_arg_dims={"xs": 0})
        refused(CaptureError, lambda: model(rows(4)), "names 'xs', which Block.forward", "'x'", "its arguments are x")

    @pytest.mark.parametrize("dim", [2, -3, (0, 5)])
    def test_a_dimension_that_the_tensor_has_not(self, dim: Any) -> None:
        model = cutaway.compile(Block(), dynamic_arg_dims={"x": dim})
        refused(CaptureError, lambda: model(rows(4)), "of a tensor that has 2", "[4, 8]", "correct")

    @pytest.mark.parametrize("dim", ["0", None, 0.0, True])
    def test_what_is_no_dimension(self, dim: Any) -> None:
        model = cutaway.compile(Block(), dynamic_arg_dims={"x": dim})
        refused(CaptureError, lambda: model(rows(4)), f"gives {dim!r} for 'x'", "is a number", '{"x": 0}')

    def test_a_model_without_annotated_tensors(self) -> None:
        class Bare(nn.Module):
            def forward(self, x):  # type: ignore[no-untyped-def]
                return x + 1

        one = cutaway.compile(Bare(), {"backend": "eager"})
        refused(CaptureError, lambda: one(rows(4)), "no dynamic dimension", "annotated as a tensor", "dynamic_arg_dims")


class Scaled(nn.Module):
    """Takes what Python calls take: a number, a flag, something that may be left out."""

    def forward(
        self, x: torch.Tensor, scale: float = 2.0, bias: torch.Tensor | None = None, *, negate: bool = False
    ) -> torch.Tensor:
        x = x * scale if bias is None else x * scale + bias
        return -x if negate else x


class TestCalls:
    """What a call may change is the batch size alone."""

    @pytest.fixture
    def model(self) -> Any:
        one = cutaway.compile(Scaled(), {"backend": "eager", "max_batch": 300})
        one(rows(4))
        return one

    @pytest.mark.parametrize("number", [0, 301, 100_000])
    def test_a_batch_outside_of_all_ranges(self, model: Any, number: int) -> None:
        refused(InputError, lambda: model(rows(number)), f"batch size {number} lies outside", "[1, 300]", "max_batch")

    @pytest.mark.parametrize(
        ("x", "why"),
        [
            (rows(4).double(), "its dtype is torch.float64, and was torch.float32"),
            (rows(4)[None], "it has 3 dimensions, and had 2"),
            (torch.randn(4, 9), "dimension 1 is 9, and was 8"),
            (torch.randn(8, 4).T, "its strides are (1, 4), and it was contiguous"),
            (torch.randn(4, 8, device="meta"), "it is on meta, and was on cpu"),
            (3, "it is a int, and was a tensor"),
            (None, "it is a NoneType, and was a tensor"),
        ],
    )
    def test_a_tensor_that_is_not_as_it_was(self, model: Any, x: Any, why: str) -> None:
        refused(InputError, lambda: model(x), "the argument 'x' is not as it was", why, "compile another copy")

    @pytest.mark.parametrize(
        ("call", "name", "why"),
        [
            ({"scale": 3.0}, "scale", "it is 3.0, and 2.0 was compiled in"),
            ({"scale": 2}, "scale", "it is 2, and 2.0 was compiled in"),
            ({"negate": True}, "negate", "it is True, and False was compiled in"),
            ({"bias": torch.ones(8)}, "bias", "it is a Tensor, and None was compiled in"),
        ],
    )
    def test_a_changed_python_argument(self, model: Any, call: dict[str, Any], name: str, why: str) -> None:
        refused(InputError, lambda: model(rows(4), **call), f"the argument {name!r} is not", why, "compile another")

    @pytest.mark.parametrize(
        ("args", "call", "why"),
        [
            ((), {}, "missing a required argument: 'x'"),
            ((), {"y": rows(4)}, "missing a required argument: 'x'"),
            ((rows(4),), {"y": 1}, "unexpected keyword argument 'y'"),
            ((rows(4), 2.0, None, False), {}, "too many positional"),
        ],
    )
    def test_arguments_that_the_model_does_not_take(
        self, model: Any, args: tuple[Any, ...], call: dict[str, Any], why: str
    ) -> None:
        refused(InputError, lambda: model(*args, **call), "does not take these arguments", why, "it takes (x:")

    def test_it_runs_on_after_every_error(self, model: Any) -> None:
        x = rows(7)
        for bad in (rows(301), rows(4).double(), None):
            with pytest.raises(InputError):
                model(bad)
            assert model(x).equal(x * 2)

    def test_no_argument_at_all_at_the_first_call(self) -> None:
        one = cutaway.compile(Scaled(), {"backend": "eager"})
        refused(InputError, one, "does not take these arguments", "missing a required argument: 'x'", "it takes (x:")


class TestTheSameCallInAnotherForm:
    FORMS: tuple[Callable[[Any, torch.Tensor], torch.Tensor], ...] = (
        lambda model, x: model(x),
        lambda model, x: model(x=x),
        lambda model, x: model(x, 2.0),
        lambda model, x: model(x, 2.0, None),
        lambda model, x: model(x, scale=2.0),
        lambda model, x: model(bias=None, scale=2.0, x=x),
        lambda model, x: model(x, negate=False),
    )

    @pytest.mark.parametrize("first", FORMS)
    def test_every_form_may_follow_every_other(self, first: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        one = cutaway.compile(Scaled(), {"backend": "eager"})
        for form in (first, *self.FORMS):
            x = rows(5)
            assert form(one, x).equal(x * 2)
        assert one.counters.graphs_seen == 1

    def test_a_tensor_that_may_be_left_out_and_was_given(self) -> None:
        one = cutaway.compile(Scaled(), {"backend": "eager"}, dynamic_arg_dims={"x": 0})
        x, bias = rows(5), torch.ones(8)
        for found in (one(x, bias=bias), one(x, 2.0, bias), one(bias=bias, x=x)):
            assert found.equal(x * 2 + 1)
        refused(InputError, lambda: one(x), "'bias'", "it is a NoneType, and was a tensor", "compile another copy")
