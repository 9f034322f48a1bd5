"""Fusions: where they match, where they must not, and that nobody can tell but by the time it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from compiler.passes.rewriting import assert_graph, assert_rewritten_safely, run_pass, traced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from cutaway.compiler.passes.add_rms_norm import AddRmsNormFusion
from cutaway.compiler.passes.rms_norm_quant import RmsNormQuantFusion
from cutaway.ops.library import dynamic_per_token_quant, fused_add_rms_norm, rms_norm, static_quant
from cutaway.record.nodes import TableBuilder
from cutaway.record.origins import Remembered, find_origins

aten = torch.ops.aten
FP8 = torch.float8_e4m3fn
EPS = 1e-6


def some(*shape: int, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def inputs(dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    return [
        some(4, 8, dtype=dtype, seed=1),
        some(4, 8, dtype=dtype, seed=2),
        some(8, dtype=dtype, seed=3),
        torch.tensor(0.5),
    ]


def fused_and_equal(
    one: Any, function: Callable[..., Any], given: list[Tensor], dynamic: bool = False
) -> tuple[fx.GraphModule, Any]:
    gm = traced(function, *given, dynamic=dynamic)
    before = copy.deepcopy(gm)
    report = run_pass(one, gm)
    for node in gm.graph.nodes:
        if node.op == "call_function":
            assert "val" in node.meta
    _values_are_right(gm)
    assert_rewritten_safely(before, gm, given)
    return gm, report


def _values_are_right(gm: fx.GraphModule) -> None:
    """What a node is said to return is what it returns."""
    for node in gm.graph.nodes:
        if node.op == "call_function":
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda one: one.meta["val"])
            with torch._guards.detect_fake_mode([node.meta.get("val") for node in gm.graph.nodes]):
                made = torch.utils._pytree.tree_leaves(node.target(*args, **kwargs))
            said = torch.utils._pytree.tree_leaves(node.meta["val"])
            assert [(v.dtype, tuple(v.shape), v.stride()) for v in made] == [
                (v.dtype, tuple(v.shape), v.stride()) for v in said
            ]


# -- add + rms_norm ----------------------------------------------------------------------------------------


def layer(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    total = aten.add(x, residual)
    return rms_norm(total, weight, EPS), total


def test_the_sum_keeps_its_users() -> None:
    gm, report = fused_and_equal(AddRmsNormFusion(), layer, inputs())
    assert_graph(
        gm,
        """
        %x_1 = input
        %residual_1 = input
        %weight_1 = input
        %scale_1 = input
        %fused_add_rms_norm_default = cutaway_ir.fused_add_rms_norm.default(%x_1, %residual_1, %weight_1, 1e-06)
        %getitem = operator.getitem(%fused_add_rms_norm_default, 0)
        %getitem_1 = operator.getitem(%fused_add_rms_norm_default, 1)
        return [%getitem, %getitem_1]
        """,
    )
    assert report.counts == {"matches": 1, "add_rms_norm": 1}


def layers(number: int) -> Callable[..., Any]:
    def decoder(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
        for _ in range(number):
            residual = aten.add(x, residual)
            x = aten.sin(rms_norm(residual, weight, EPS))
            residual = aten.add(residual, x)
            x = aten.cos(rms_norm(residual, weight, EPS))
        return x, residual

    return decoder


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_it_fires_in_every_layer(dynamic: bool) -> None:
    _, report = fused_and_equal(AddRmsNormFusion(), layers(6), inputs(), dynamic)
    assert report.counts["matches"] == 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_bit_for_bit_the_same(dtype: torch.dtype) -> None:
    _, report = fused_and_equal(AddRmsNormFusion(), layers(2), inputs(dtype))
    assert report.counts["matches"] == 4


def no_weight(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, residual), None, EPS)


def weight_of_another_dtype(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, residual), weight.to(torch.float32), epsilon=EPS)


def read_before_and_after(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    total = aten.add(x, residual)
    early = aten.sin(total)
    normed = rms_norm(total, weight, EPS)
    return early, normed, aten.cos(total), aten.view(total, [-1])


def three_dimensions(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x.view(2, 2, 8), residual.view(2, 2, 8)), weight, EPS)


def itself(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, x), weight, EPS)


MATCH = (no_weight, weight_of_another_dtype, read_before_and_after, three_dimensions, itself)


@pytest.mark.parametrize("function", MATCH, ids=lambda one: one.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_it_matches(function: Callable[..., Any], dynamic: bool) -> None:
    _, report = fused_and_equal(AddRmsNormFusion(), function, inputs(), dynamic)
    assert report.counts["matches"] == 1


def taken_twice(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, residual, alpha=2), weight, EPS)


def broadcast(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, residual[:1]), weight, EPS)


def promoted(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, residual.to(torch.float32)), weight, EPS)


def a_number(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(x, 1.0), weight, EPS)


def turned(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return rms_norm(aten.add(aten.permute(x, [1, 0]), aten.permute(residual, [1, 0])), aten.slice(weight, 0, 0, 4), EPS)


def weight_made_late(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    total = aten.add(x, residual)
    return rms_norm(total, aten.sum(total, [0]), EPS)


REFUSED = {
    taken_twice: "what is added is taken 2 times",
    broadcast: "one operand is broadcast",
    promoted: "the operands are of different dtypes",
    a_number: "a number is added",
    turned: "the sum does not lie contiguous",
    weight_made_late: "sum_1 is computed after add, which sum_1 reads before",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda one: one.__name__)
def test_what_is_not_exact_is_refused_with_the_reason(function: Callable[..., Any]) -> None:
    _, report = fused_and_equal(AddRmsNormFusion(), function, inputs())
    assert report.counts["matches"] == 0
    assert list(report.notes["refused"].values()) == [REFUSED[function]]


def test_not_across_a_write() -> None:
    def function(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
        total = aten.add(x, residual)
        aten.mul_(total, 2)
        return rms_norm(total, weight, EPS)

    def weight_written(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
        total, weight = aten.add(x, residual), aten.neg(weight)
        torch.ops.rewriting.double_(weight)
        return rms_norm(total, weight, EPS)

    for one in (function, weight_written):
        gm = traced(one, *inputs())
        before = copy.deepcopy(gm)
        report = run_pass(AddRmsNormFusion(), gm)
        assert report.counts["matches"] == 0
        assert_rewritten_safely(before, gm, inputs())


# -- rms_norm + quantisation -------------------------------------------------------------------------------


def norm_static(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return static_quant(rms_norm(x, weight, EPS), scale, FP8)


def norm_dynamic(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return dynamic_per_token_quant(rms_norm(x, weight, EPS), torch.int8)


def add_norm_static(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed, total = fused_add_rms_norm(x, residual, weight, EPS)
    early = aten.sin(total)
    return static_quant(normed, scale, FP8), total, early


def add_norm_dynamic(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed, total = fused_add_rms_norm(x, residual, weight, EPS)
    return *dynamic_per_token_quant(normed, FP8), total


def add_norm_without_the_sum(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    return static_quant(fused_add_rms_norm(x, residual, weight, EPS)[0], scale, torch.int8)


QUANTS = {
    norm_static: "rms_norm_static_quant",
    norm_dynamic: "rms_norm_dynamic_quant",
    add_norm_static: "fused_add_rms_norm_static_quant",
    add_norm_dynamic: "fused_add_rms_norm_dynamic_quant",
    add_norm_without_the_sum: "fused_add_rms_norm_static_quant",
}


@pytest.mark.parametrize("function", QUANTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_each_pattern(function: Callable[..., Any], dynamic: bool, dtype: torch.dtype) -> None:
    gm, report = fused_and_equal(RmsNormQuantFusion(), function, inputs(dtype), dynamic)
    assert report.counts["matches"] == 1
    assert report.counts[QUANTS[function]] == 1
    assert f"cutaway_ir.{QUANTS[function]}.default" in {str(node.target) for node in gm.graph.nodes}
    assert len([node for node in gm.graph.nodes if str(node.target).startswith("cutaway_ir.")]) == 1


def test_what_it_looks_like() -> None:
    gm, _ = fused_and_equal(RmsNormQuantFusion(), add_norm_static, inputs())
    assert_graph(
        gm,
        """
        %x_1 = input
        %residual_1 = input
        %weight_1 = input
        %scale_1 = input
        %fused_add_rms_norm_static_quant_default = cutaway_ir.fused_add_rms_norm_static_quant.default(%x_1, %residual_1, %weight_1, %scale_1, 1e-06, torch.float8_e4m3fn)
        %getitem_2 = operator.getitem(%fused_add_rms_norm_static_quant_default, 0)
        %getitem_3 = operator.getitem(%fused_add_rms_norm_static_quant_default, 1)
        %sin = aten.sin.default(%getitem_3)
        return [%getitem_2, %getitem_3, %sin]
        """,  # noqa: E501
    )


def normed_elsewhere(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed = rms_norm(x, weight, EPS)
    return static_quant(normed, scale, FP8), aten.sin(normed)


def sum_normed_elsewhere(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed, total = fused_add_rms_norm(x, residual, weight, EPS)
    return static_quant(normed, scale, FP8), aten.sin(normed), total


def quantised_twice(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed = rms_norm(x, weight, EPS)
    return static_quant(normed, scale, FP8), static_quant(normed, aten.add(scale, 1), FP8)


def scale_made_late(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    normed, total = fused_add_rms_norm(x, residual, weight, EPS)
    return static_quant(normed, aten.sum(aten.abs(total), dtype=torch.float32), FP8)


@pytest.mark.parametrize(
    "function", [normed_elsewhere, sum_normed_elsewhere, quantised_twice, scale_made_late], ids=lambda one: one.__name__
)
def test_what_is_normalised_must_have_no_other_user(function: Callable[..., Any]) -> None:
    _, report = fused_and_equal(RmsNormQuantFusion(), function, inputs())
    assert report.counts["matches"] == 0


# -- both --------------------------------------------------------------------------------------------------


def quantised_layers(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
    for _ in range(3):
        residual = aten.add(x, residual)
        quantised, scales = dynamic_per_token_quant(rms_norm(residual, weight, EPS), torch.int8)
        x = aten.mul(quantised, scales).to(torch.bfloat16)
    return x, residual


def test_one_after_the_other_in_every_layer() -> None:
    gm = traced(quantised_layers, *inputs())
    before = copy.deepcopy(gm)
    assert run_pass(AddRmsNormFusion(), gm).counts["matches"] == 3
    assert run_pass(RmsNormQuantFusion(), gm).counts["fused_add_rms_norm_dynamic_quant"] == 3
    assert_rewritten_safely(before, gm, inputs())


def test_every_node_that_was_replaced_is_an_origin() -> None:
    gm = traced(quantised_layers, *inputs())
    for index, node in enumerate(gm.graph.nodes):
        node.meta["stack_trace"] = f'File "model.py", line {index}, in forward\n    line {index}'
    for one, names in (
        (AddRmsNormFusion(), {"add", "rms_norm"}),
        (RmsNormQuantFusion(), {"fused_add_rms_norm_default", "dynamic_per_token_quant"}),
    ):
        builder = TableBuilder()
        previous = Remembered.of(gm, builder.build(gm, {}))
        known = {index: name for name, index in previous.names.items()}
        run_pass(one, gm)
        origins = find_origins(gm, previous)
        new = [node for node in gm.graph.nodes if node not in previous.ids]
        assert new
        for node in new:
            found = {known[index].rstrip("_0123456789") for index in origins[node].ids}
            assert names <= found, node
            assert node.meta["stack_trace"]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["add", "norm", "quant", "dynamic", "sin", "write", "fused"]), max_size=12), st.data())
def test_any_program_of_them(moves: list[str], data: st.DataObject) -> None:
    picks = data.draw(st.lists(st.integers(0, 20), min_size=40, max_size=40))

    def program(x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor) -> Any:
        there = [x, residual]
        chosen = iter(picks)

        def take() -> Tensor:
            return there[-1 - next(chosen) % min(len(there), 4)]

        for move in moves:
            if move == "add":
                there.append(aten.add(take(), take()))
            elif move == "norm":
                there.append(rms_norm(take(), weight, EPS))
            elif move == "fused":
                there += fused_add_rms_norm(take(), take(), weight, EPS)
            elif move == "quant":
                there.append(static_quant(take(), scale, torch.int8).to(x.dtype))
            elif move == "dynamic":
                quantised, scales = dynamic_per_token_quant(take(), torch.int8)
                there.append(aten.mul(quantised, scales).to(x.dtype))
            elif move == "sin":
                there.append(aten.sin(take()))
            else:
                torch.ops.rewriting.double_(there[-1]) if len(there) > 2 else None
        return there[2:] or there

    gm = traced(program, *inputs())
    before = copy.deepcopy(gm)
    run_pass(AddRmsNormFusion(), gm)
    run_pass(RmsNormQuantFusion(), gm)
    assert_rewritten_safely(before, gm, inputs())
