"""Fingerprints: equal for graphs that are equal up to names, and only for those."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import OPS, Input, Maker, Spec, Symbols, build, fingerprint_of, specs, table_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cutaway.record.fingerprint import fingerprint, ordered

aten = torch.ops.aten
few = settings(max_examples=25)


def changed(spec: Spec, index: int, **facts: Any) -> Spec:
    calls = list(spec.calls)
    calls[index] = replace(calls[index], **facts)
    return replace(spec, calls=tuple(calls))


def changed_input(spec: Spec, index: int, **facts: Any) -> Spec:
    inputs = list(spec.inputs)
    inputs[index] = replace(inputs[index], **facts)
    return replace(spec, inputs=tuple(inputs))


def differ(one: Spec, other: Spec) -> bool:
    return fingerprint_of(build(one)) != fingerprint_of(build(other))


class TestNamesDoNotCount:
    @few
    @given(specs())
    def test_of_nodes_and_inputs(self, spec: Spec) -> None:
        assert fingerprint_of(build(spec, names="mm")) == fingerprint_of(build(spec, names="l_self_weight"))

    @few
    @given(specs())
    def test_of_symbols(self, spec: Spec) -> None:
        spec = changed_input(spec, 0, sizes=("a", *spec.inputs[0].sizes))
        one, other = build(spec, prefix="x"), build(spec, prefix="yy")
        assert table_of(one)["symbols"].keys() != table_of(other)["symbols"].keys()
        assert fingerprint_of(one) == fingerprint_of(other)

    @pytest.mark.filterwarnings("ignore:Raw SymInt value")
    def test_of_symbols_that_are_added_up(self) -> None:
        def added_up(prefix: str) -> str:
            maker, symbols = Maker(), Symbols(prefix)
            for letter in "ab":
                maker.input(letter, val=symbols.tensor(Input("float32", (letter, 2))))
            size = symbols["a"] * symbols["b"] + 2 * symbols["b"]
            return fingerprint_of(maker.done(maker.call(aten.full.default, [size, 3], 0)))

        assert len({added_up(prefix) for prefix in "abcdefgh"}) == 1

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a*b + 2*b", "2*b + b*a"),
            ("-a*b + c", "c - b*a"),
            ("c*(a + b)", "(b + a)*c"),
            ("Max(1, a, b)", "Max(b, a, 1)"),
            ("-a + b - 1", "b - 1 - a"),
            ("Eq(Mod(a*b, 4), 0)", "Eq(0, Mod(b*a, 4))"),
        ],
    )
    def test_of_the_order_in_which_terms_are_printed(self, one: str, other: str) -> None:
        assert ordered(one) == ordered(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a + 2*b", "2*a + b"),
            ("a - b", "b - a"),
            ("-a*b", "a*b"),
            ("(a//b)", "(b//a)"),
            ("a**b", "b**a"),
            ("a*(b + c)", "a*b + c"),
            ("Mod(a, b)", "Mod(b, a)"),
            ("a <= b", "b <= a"),
        ],
    )
    def test_but_expressions_that_differ_stay_apart(self, one: str, other: str) -> None:
        assert ordered(one) != ordered(other)

    @pytest.mark.parametrize(
        "text", ["(" * 150 + "a+b", "a +", "-" * 1990 + "a+b", "a\0+b", "(a+" * 400 + "b" + ")" * 400]
    )
    def test_an_expression_that_no_compiler_made(self, text: str) -> None:
        assert ordered(text)

    @pytest.mark.parametrize("fact", ["layer", "source", "from", "input", "provider"])
    def test_what_people_read_beside_a_node(self, fact: str) -> None:
        table = table_of(build(Spec((Input("float32", (2, 3)),), ())))
        before = fingerprint(table)
        for row in table["nodes"]:
            row[fact] = 0
        assert fingerprint(table) == before

    def test_of_nested_graphs(self) -> None:
        def outer(attribute: str) -> str:
            inner = Maker()
            inner = inner.done(inner.call(aten.add.Tensor, inner.input(), 1))
            maker = Maker()
            branch = maker.attribute(attribute, inner)
            return fingerprint_of(maker.done(maker.call(torch.cond, maker.input(), branch)))

        assert outer("true_graph_0") == outer("cond_branch")


class TestWhatIsCalledCounts:
    @few
    @given(specs(), st.data())
    def test_a_constant(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.calls) - 1))
        assume(isfinite(spec.calls[index].constant))
        assert differ(spec, changed(spec, index, constant=12345))

    @pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), (2.0, "2.0")])
    def test_the_type_of_a_constant(self, one: Any, other: Any) -> None:
        def with_constant(value: Any) -> str:
            maker = Maker()
            return fingerprint_of(maker.done(maker.call(aten.add.Tensor, maker.input(), value)))

        assert with_constant(one) != with_constant(other)

    @few
    @given(specs(), st.data())
    def test_the_operator(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.calls) - 1))
        other = data.draw(st.sampled_from(sorted(OPS.keys() - {spec.calls[index].op})))
        assert differ(spec, changed(spec, index, op=other))

    @few
    @given(specs(), st.data())
    def test_the_order_of_operands(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.calls) - 1))
        call = spec.calls[index]
        assume(call.left != call.right)
        assert differ(spec, changed(spec, index, left=call.right, right=call.left))

    @few
    @given(specs())
    def test_one_node_more(self, spec: Spec) -> None:
        assert differ(spec, replace(spec, calls=(*spec.calls, spec.calls[-1])))

    def test_a_nested_graph(self) -> None:
        def outer(constant: int) -> str:
            inner = Maker()
            inner = inner.done(inner.call(aten.add.Tensor, inner.input(), constant))
            maker = Maker()
            branch = maker.attribute("branch", inner)
            return fingerprint_of(maker.done(maker.call(torch.cond, maker.input(), branch)))

        assert outer(1) != outer(2)

    def test_the_values_of_a_small_constant_but_not_of_a_large_one(self) -> None:
        def reads(value: torch.Tensor) -> str:
            maker = Maker()
            return fingerprint_of(maker.done(maker.call(aten.add.Tensor, maker.attribute("c", value), 1)))

        assert reads(torch.zeros(4)) != reads(torch.ones(4))
        assert reads(torch.zeros(100, 100)) == reads(torch.ones(100, 100))


class TestWhatInputsAreCounts:
    @few
    @given(specs(), st.data())
    def test_a_dtype(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.inputs) - 1))
        assert differ(spec, changed_input(spec, index, dtype="float16"))

    @few
    @given(specs(), st.data())
    def test_a_size(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.inputs) - 1))
        sizes = spec.inputs[index].sizes
        assert differ(spec, changed_input(spec, index, sizes=(11, *sizes[1:])))

    @few
    @given(specs(), st.data())
    def test_a_stride(self, spec: Spec, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(spec.inputs) - 1))
        tensor = replace(spec.inputs[index], sizes=(3, 4), transposed=False)
        spec = changed_input(spec, index, sizes=tensor.sizes, transposed=False)
        assert differ(spec, changed_input(spec, index, sizes=(4, 3), transposed=True))

    def test_whether_it_needs_a_gradient(self) -> None:
        def takes(value: torch.Tensor) -> str:
            maker = Maker()
            maker.input(val=value)
            return fingerprint_of(maker.done())

        assert takes(torch.empty(2)) != takes(torch.empty(2).requires_grad_())

    def test_where_it_is_and_where_it_begins(self) -> None:
        def takes(value: torch.Tensor) -> str:
            maker = Maker()
            maker.input(val=value)
            return fingerprint_of(maker.done())

        assert takes(torch.empty(2)) != takes(torch.empty(2, device="meta"))
        assert takes(torch.empty(4)[:2]) != takes(torch.empty(4)[2:])

    def test_which_size_is_the_same_as_which(self) -> None:
        def with_sizes(first: str, second: str) -> Spec:
            return Spec((Input("float32", (first, 2)), Input("float32", (second, 2))), ())

        assert differ(with_sizes("a", "a"), with_sizes("a", "b"))

    def test_the_range_of_a_size(self) -> None:
        def with_maximum(maximum: int) -> str:
            maker, symbols = Maker(), Symbols()
            symbols.env.constrain_symbol_range(symbols["a"].node.expr, 2, maximum)
            maker.input(val=symbols.tensor(Input("float32", ("a", 4))))
            return fingerprint_of(maker.done())

        assert with_maximum(16) == with_maximum(16)
        assert with_maximum(16) != with_maximum(32)


@few
@given(specs(symbols="ab"), specs(symbols="ab"))
def test_equal_means_equal(one: Spec, other: Spec) -> None:
    """Whatever hypothesis draws: fingerprints agree exactly when the descriptions do."""
    assume(repr(one) == repr(other) or _canonical(one) != _canonical(other))
    assert (fingerprint_of(build(one)) == fingerprint_of(build(other))) == (repr(one) == repr(other))


def _canonical(spec: Spec) -> str:
    """Descriptions are equal up to names when they are equal with their symbols numbered by first appearance."""
    seen: dict[str, str] = {}
    for tensor in spec.inputs:
        for size in tensor.sizes:
            if isinstance(size, str):
                seen.setdefault(size, str(len(seen)))
    inputs = [replace(t, sizes=tuple(seen.get(size, size) for size in t.sizes)) for t in spec.inputs]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return repr((inputs, spec.calls))


@few
@given(specs(symbols="ab"))
def test_the_same_after_a_round_trip_through_json(spec: Spec) -> None:
    table = table_of(build(spec))
    assert fingerprint(json.loads(json.dumps(table))) == fingerprint(table)


def test_every_kind_of_argument_survives_json() -> None:
    maker = Maker()
    x = maker.input()
    odd = [
        float("nan"), float("-inf"), slice(None, x, 2), (1, [x, (2,)]), {"node": x, 3: None}, torch.bfloat16,
        torch.device("cpu", 0), torch.strided, torch.channels_last, None, True, "text", 2**70,
    ]  # fmt: skip
    table = table_of(maker.done(maker.call(torch.cat, *odd, dim=-1)))
    assert fingerprint(json.loads(json.dumps(table))) == fingerprint(table)


IN_ANOTHER_PROCESS = """
from graphs import Call, Input, Spec, build, fingerprint_of
spec = Spec((Input("float32", ("a", 4)), Input("int64", (4, "b"), True)), (Call("mm", 0, 1, 1.5), Call("cat", 2, 0, 3)))
print(fingerprint_of(build(spec)))
"""


def test_the_same_in_every_process() -> None:
    found: set[str] = set()
    for seed in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", IN_ANOTHER_PROCESS],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == 32
