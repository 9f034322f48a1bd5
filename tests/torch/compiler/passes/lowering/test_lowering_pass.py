"""The pass: which provider is chosen, what is told of it, odd graphs, and what cannot be lowered."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.passes.lowering import ir_ops as ops
from compiler.passes.lowering.alike import assert_alike, lowered, traced_anew
from compiler.passes.lowering.graphs import Called, Input, Program, Result, Shape, Size, Symbol, build
from torch import Tensor, fx
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode

from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.context import PassReport, pass_context
from cutaway.compiler.passes.lowering import IrLowering, ir_targets
from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.errors import CompileError
from cutaway.ops import IrOp, register_op

ROWS, WEIGHT = Shape((Size(0, 0), Size(8))), Shape((Size(8),))


def of(
    *calls: Called, inputs: tuple[Shape, ...] = (ROWS, WEIGHT), batch: Symbol | None = None, **facts: Any
) -> Program:
    return Program((batch or Symbol(12),), inputs, calls, **facts)


def told(gm: fx.GraphModule, cache: ReplacementCache | None = None) -> PassReport:
    with pass_context(Range(1, 64)) as context:
        lowered(gm, ReplacementCache() if cache is None else cache)
    return context.report


def targets(gm: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in gm.graph.nodes if node.op == "call_function"]


def constants(gm: fx.GraphModule) -> list[Any]:
    return [node.args[1] for node in gm.graph.nodes if node.op == "call_function"]


LARGE = Called(ops.lowering_large, (Input(0),))


class TestTheProvider:
    def test_the_first_that_takes_the_arguments_is_chosen(self) -> None:
        known = {"known to be large": (((0, 20),), 2), "known to be small": ((), 1), "not known": ((), 1)}
        for batch, (checks, number) in zip((Symbol(30), Symbol(12, 2, 16), Symbol(30)), known.values(), strict=True):
            built = build(of(LARGE, batch=batch, checks=checks))
            with ops.lowering_large.set_priority(["large", "native"]):
                report = told(built.gm)
            assert constants(built.gm) == [number]
            assert report.providers == {built.calls[0].name: "large" if number == 2 else "native"}
            asked = report.notes.get("undecided")
            assert (asked is not None) == (batch == Symbol(30) and not checks)

    @pytest.mark.parametrize("unbacked", [False, True])
    def test_what_is_passed_over_for_want_of_an_answer_is_told_and_adds_no_guard(self, unbacked: bool) -> None:
        built = build(of(LARGE, LARGE, batch=Symbol(30, unbacked=unbacked)))
        env: Any = built.mode.shape_env
        guards = list(env.guards)
        with ops.lowering_large.set_priority(["large", "native"]):
            report = told(built.gm)
        symbol = built.symbols[0].node.expr
        expected = f"op 'lowering_large': supports_args of provider 'large' asks {symbol} > 16"
        assert report.notes["undecided"] == [expected]
        assert env.guards == guards
        assert not env.deferred_runtime_asserts.get(symbol, ())[1:]

    def test_providers_of_nodes_inside_are_told_too(self) -> None:
        built = build(of(Called(ops.lowering_nested, (Input(0), Input(1)))))
        report = told(built.gm)
        assert list(report.providers) == ["lowering_nested_default", "lowering_norm_default", "lowering_gated_default"]
        assert report.counts["lowered"] == 3

    def test_the_report_counts(self) -> None:
        cache = ReplacementCache()
        norm = Called(ops.lowering_norm, (Input(0), Input(1), 1e-5))
        gated = Called(ops.lowering_gated, (Input(0),))
        assert dict(told(build(of(norm, norm, gated)).gm, cache).counts) == {
            "lowered": 3, "hits": 1, "misses": 2, "uncached": 0,
        }  # fmt: skip
        assert dict(told(build(of(norm, gated, gated)).gm, cache).counts)["hits"] == 3
        assert dict(told(build(of()).gm, cache).counts) == {"lowered": 0}

    def test_it_runs_outside_of_a_compile(self) -> None:
        gm = build(of(LARGE)).gm
        IrLowering()(gm.graph)
        assert targets(gm) == ["aten.add.Tensor"]


class TestOddGraphs:
    def test_arguments_by_name(self) -> None:
        built = build(of(Called(ops.lowering_gated, (Input(0), 2.0, True))))
        (node,) = built.calls
        node.args, node.kwargs = (), {"negated": True, "x": node.args[0], "scale": 2.0}
        other = build(of(Called(ops.lowering_gated, (Input(0), 2.0, True)))).gm
        assert_alike(lowered(built.gm, ReplacementCache()), traced_anew(other))

    def test_nodes_whose_values_are_one_object_stay_apart(self) -> None:
        built = build(of(Called(ops.lowering_two, (Input(0), Input(1))), inputs=(ROWS, ROWS)))
        first, second = (node for node in built.gm.graph.nodes if node.name.startswith("arg"))
        second.meta["val"] = first.meta["val"]
        for way in (traced_anew, lambda gm: lowered(gm, ReplacementCache())):
            nodes = [node for node in way(copied(built.gm)).graph.nodes if node.target is torch.ops.aten.add.Tensor]
            assert [arg.name for arg in nodes[0].args] == [first.name, second.name]

    def test_a_result_that_nobody_uses_is_not_computed(self) -> None:
        built = build(of(Called(ops.lowering_two, (Input(0), Input(0)))))
        (results,) = built.gm.graph.output_node().args
        built.gm.graph.output_node().args = ((results[0],),)
        built.gm.graph.erase_node(results[1])
        assert targets(lowered(built.gm, ReplacementCache())) == ["aten.mul.Tensor", "aten.relu.default"]

    def test_what_writes_stays_though_nobody_uses_it(self) -> None:
        built = build(of(Called(ops.lowering_halved, (Input(0), Input(0), 2.0))))
        (results,) = built.gm.graph.output_node().args
        built.gm.graph.output_node().args = ((results[1],),)
        with ops.lowering_halved.set_priority(["inplace"]):
            found = targets(lowered(built.gm, ReplacementCache()))
        assert found.count("aten.clone.default") == 2
        assert "lowering_tests.halve_.default" in found

    def test_results_are_used_as_they_come(self) -> None:
        """By a node that takes the tuple itself."""
        built = build(of(Called(ops.lowering_two, (Input(0), Input(0)))))
        (node,) = built.calls
        graph = built.gm.graph
        with graph.inserting_before(graph.output_node()):
            joined = graph.call_function(torch.ops.aten.cat.default, (node,))
        joined.meta["val"] = node.meta["val"][0]
        lowered(built.gm, ReplacementCache())
        assert [part.name for part in joined.args[0]] == ["relu_default", "permute_default"]

    def test_activations_that_are_given_away_are_left_alone(self) -> None:
        built = build(of(Called(ops.lowering_halved, (Input(0), Input(0), 2.0))))
        built.calls[0].target = ops.lowering_halved.maybe_inplace.torch_op
        with ops.lowering_halved.set_priority(["inplace"]):
            found = targets(lowered(built.gm, ReplacementCache()))
        assert found[:2] == ["aten.clone.default"] * 2

    def test_results_lie_in_memory_of_their_own(self) -> None:
        built = build(of(Called(ops.lowering_given_back, (Input(0),))))
        with ops.lowering_given_back.set_priority(["careless"]):
            found = lowered(built.gm, ReplacementCache())
        (results,) = found.graph.output_node().args
        given = found.graph.find_nodes(op="placeholder")[1]
        storages = [node.meta["val"].untyped_storage()._cdata for node in (*results, given)]
        assert len(set(storages)) == 4

    def test_values_of_another_fake_mode_are_taken_into_that_of_the_compile(self) -> None:
        mode = FakeTensorMode()
        gm = build(Program((), (WEIGHT,), (Called(ops.lowering_gated, (Input(0),)),))).gm
        with V.set_fake_mode(mode):
            told(gm)
        assert {node.meta["val"].fake_mode for node in gm.graph.nodes if node.op == "call_function"} == {mode}


def copied(gm: fx.GraphModule) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(gm.graph, {}))
    return fx.GraphModule({}, graph)


@register_op
def lowering_failing(x: Tensor, number: int) -> Tensor:
    return x + number


@lowering_failing.register_impl("failing", supports_args=lambda x, number: number > 0)
def failing(x: Tensor, number: int) -> Tensor:
    if number > 1:
        text = "numbers above one\nand a second line"
        raise ValueError(text)
    return x + number


@lowering_failing.register_impl("refusing", supports_args=lambda x, number: x.no_such_attribute)
def refusing(x: Tensor, number: int) -> Tensor:
    return x + number


@lowering_failing.register_impl("writing")
def writing(x: Tensor, number: int) -> Tensor:
    x[:1].add_(number)
    return x * 1


@register_op
def lowering_endless(x: Tensor) -> Tensor:
    return x + 1


@lowering_endless.register_impl("endless")
def endless(x: Tensor) -> Tensor:
    return lowering_endless(x)


def failed(program: Program, op: IrOp, *providers: str) -> str:
    built = build(program)
    with op.set_priority([*providers, "native"]), pytest.raises(CompileError) as caught:
        IrLowering(ReplacementCache())(built.gm.graph)
    return str(caught.value)


class TestWhatCannotBeLowered:
    def test_an_implementation_that_asks_for_a_new_guard(self) -> None:
        built = build(of(LARGE, batch=Symbol(30)))
        guards = list(built.mode.shape_env.guards)
        with ops.lowering_large.set_priority(["careless"]), pytest.raises(CompileError) as caught:
            IrLowering(ReplacementCache())(built.gm.graph)
        symbol = built.symbols[0].node.expr
        line = Path(ops.__file__).read_text().split("\n").index("    return x + 3 if x.shape[0] > 16 else x + 4") + 1
        assert str(caught.value) == (
            "1 of 1 IR nodes cannot be lowered: lowering_large_default. lowering_large_default (op lowering_large,"
            " layers.3.norm: RMSNorm, model.py:12: return self.norm(x)): provider 'careless' asks"
            f" {symbol} > 16 ({ops.__file__}:{line}: return x + 3 if x.shape[0] > 16 else x + 4), which is not known of"
            " every size that the graph is compiled for. State in supports_args of provider 'careless' of op"
            " 'lowering_large' which sizes it takes, or write it without the question."
        )
        assert built.mode.shape_env.guards == guards

    def test_unless_the_answer_is_known(self) -> None:
        for checks, number in ((((0, 20),), 3), ((), 4)):
            built = build(of(LARGE, batch=Symbol(30) if checks else Symbol(12, 2, 16), checks=checks))
            with ops.lowering_large.set_priority(["careless"]):
                assert constants(lowered(built.gm, ReplacementCache())) == [number]

    def test_all_nodes_that_failed_are_named(self) -> None:
        program = of(*[Called(lowering_failing, (Input(0), number)) for number in (2, 1, 3, 0)])
        text = failed(program, lowering_failing, "failing")
        assert text.startswith(
            "2 of 4 IR nodes cannot be lowered: lowering_failing_default, lowering_failing_default_2."
        )
        assert "tracing provider 'failing' failed: ValueError: numbers above one (" in text
        assert "second line" not in text
        assert text.count("choose another with set_priority or ir_priority") == 1

    def test_an_implementation_that_writes_to_an_argument_without_saying_so(self) -> None:
        text = failed(of(Called(lowering_failing, (Input(0), 2))), lowering_failing, "writing")
        assert "provider 'writing' writes to an argument, with aten.add_.Tensor. Register" in text

    def test_a_supports_args_that_fails(self) -> None:
        text = failed(of(Called(lowering_failing, (Input(0), 1))), lowering_failing, "refusing")
        assert "supports_args of provider 'refusing' failed: AttributeError: 'FakeTensor' object has no" in text
        assert "Correct supports_args of provider 'refusing' of op 'lowering_failing'" in text

    def test_an_implementation_that_calls_its_own_op(self) -> None:
        text = failed(of(Called(lowering_endless, (Input(0),))), lowering_endless, "endless")
        assert "calls its own op (lowering_endless -> lowering_endless)" in text

    def test_an_argument_without_a_value(self) -> None:
        built = build(of(Called(ops.lowering_norm, (Input(0), None, 1e-5)), Called(ops.lowering_gated, (Result(0),))))
        placeholder = next(node for node in built.gm.graph.nodes if node.name == "arg0")
        del placeholder.meta["val"]
        with pytest.raises(CompileError, match="its argument arg0 has no value in its metadata"):
            IrLowering(ReplacementCache())(built.gm.graph)

    def test_an_argument_that_is_several_values(self) -> None:
        built = build(of(Called(ops.lowering_two, (Input(0), Input(0))), Called(ops.lowering_gated, (Input(0),))))
        built.calls[1].args = (built.calls[0],)
        built.calls[0].target = operator.getitem  # something that is not lowered
        with pytest.raises(CompileError, match="returns several values"):
            IrLowering(ReplacementCache())(built.gm.graph)

    def test_a_graph_without_fake_values(self) -> None:
        graph = fx.Graph()
        graph.output(graph.call_function(ops.lowering_gated.torch_op, (graph.placeholder("x"),)))
        with pytest.raises(CompileError, match="no fake tensor among its arguments"):
            IrLowering()(fx.GraphModule({}, graph).graph)


def test_every_operator_that_stands_for_an_op_is_lowered() -> None:
    assert {ops.lowering_halved.torch_op, ops.lowering_halved.maybe_inplace.torch_op} <= set(ir_targets())
