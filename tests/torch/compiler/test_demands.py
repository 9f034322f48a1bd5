"""Branches on sizes: whether all sizes that will come take the way that the example took."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import hypothesis.strategies as st
import pytest
import sympy
import torch
from compiler.models import close
from hypothesis import given, settings
from torch import nn
from torch.utils._sympy.functions import FloorDiv, Mod

import cutaway
from cutaway import torch_internals
from cutaway.compiler import CompiledModel
from cutaway.errors import CaptureError, InputError
from cutaway.torch_internals import Demand


class Two(nn.Module):
    """A function of two tensors."""

    def __init__(self, then: Callable[..., Any]) -> None:
        super().__init__()
        self.then = then

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.then(x, y)


def compiled(then: Callable[..., Any], dims: dict[str, Any] | None = None, **config: Any) -> CompiledModel:
    return cutaway.compile(Two(then), {"backend": "eager", **config}, dynamic_arg_dims=dims or {"x": 0, "y": 0})


def arguments(first: int = 4, second: int = 9, columns: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(first, columns), torch.randn(second, columns)


class TestABranchIsRefused:
    @pytest.mark.parametrize(
        ("then", "broken"),
        [
            pytest.param(lambda x, y: x * 2 if x.shape[0] == 1000 else x + 1, "a batch of 1000", id="one-size"),
            pytest.param(lambda x, y: x * 2 if x.shape[0] in (700, 3001) else x, "a batch of 700", id="a-list"),
            pytest.param(lambda x, y: x * 2 if x.shape[0] % 777 == 0 else x, "a batch of 777", id="a-multiple"),
        ],
    )
    @pytest.mark.parametrize("largest", [8192, 2**31])
    def test_that_only_a_size_in_the_middle_takes(self, then: Callable[..., Any], broken: str, largest: int) -> None:
        with pytest.raises(CaptureError) as caught:
            compiled(then, max_batch=largest)(*arguments())
        assert "the batch size" in caught.value.what
        assert "test_demands.py" in caught.value.why
        assert broken in caught.value.why or largest > 8192  # of a range of any length, some size

    @pytest.mark.parametrize(
        ("then", "dims", "said"),
        [
            pytest.param(lambda x, y: x * 2 if x.shape[1] > 5 else x, {"x": (0, 1)}, "x.shape[1] = ", id="other-dim"),
            pytest.param(lambda x, y: x if y.shape[0] > x.shape[0] else y, None, "y.shape[0] = ", id="two-sizes"),
            pytest.param(lambda x, y: x if y.shape[0] != x.shape[0] else x + 1, None, "x.shape[0] = ", id="unequal"),
            pytest.param(lambda x, y: x[: y.shape[0]] + y[: x.shape[0]], None, "shape[0] = ", id="slice"),
        ],
    )
    def test_on_another_size_than_the_batch(self, then: Callable[..., Any], dims: Any, said: str) -> None:
        with pytest.raises(CaptureError) as caught:
            compiled(then, dims)(*arguments())
        assert "dynamic sizes" in caught.value.what
        assert "test_demands.py" in caught.value.why
        assert said in caught.value.why
        assert "evaluate_guards" in caught.value.cure

    def test_on_two_sizes_that_are_equal_in_the_example(self) -> None:
        with pytest.raises(CaptureError, match=r"x if x\.shape"):
            compiled(lambda x, y: x if x.shape[0] == y.shape[0] else x - 1)(*arguments(4, 4))


def _asserts(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    assert x.shape[0] == y.shape[0]
    return x + y


def _padded(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    pad = nn.functional.pad(x, (0, 0, 0, -x.shape[0] % 16))
    return pad[: x.shape[0]] + y.sum()


class TestWhatHoldsForAllIsNot:
    @pytest.mark.parametrize(
        ("then", "second"),
        [
            pytest.param(_asserts, 4, id="assert"),
            pytest.param(_padded, 9, id="padded"),
            pytest.param(lambda x, y: torch.cat([x, y])[: y.shape[0]], 9, id="part-of-both"),
            pytest.param(lambda x, y: x[: min(x.shape[0], 300)] * max(x.shape[0], 7) + y.sum(), 9, id="min-and-max"),
            pytest.param(lambda x, y: x * 2 if x.shape[0] <= 8192 else x + y.sum(), 9, id="all-of-the-range"),
            pytest.param(lambda x, y: (x + y) * (2 if y.shape[0] <= 8192 else 3), 4, id="of-an-equal-size"),
        ],
    )
    def test_it_runs_with_any_size(self, then: Callable[..., Any], second: int) -> None:
        model = compiled(then)
        model(*arguments(4, second))
        for first in (2, 17, 300):
            x, y = arguments(first, first if second == 4 else second + 1)
            close(model(x, y), then(x, y))

    def test_two_dimensions_of_one_argument(self) -> None:
        def attention(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            rows, columns, _ = x.shape
            wide = x.view(rows * columns, 8).relu().view(rows, columns, 8)
            return (wide @ wide.transpose(1, 2)).softmax(-1) @ x.transpose(1, 2).contiguous().transpose(1, 2)

        model = compiled(attention, {"x": (0, 1)})
        for rows, columns in ((3, 5), (2, 9)):
            x = torch.randn(rows, columns, 8)
            close(model(x, x.new_zeros(1)), attention(x, x))


def test_with_guards_a_call_that_breaks_one_is_told_which_and_by_what() -> None:
    model = compiled(lambda x, y: x * 2 if x.shape[1] > 5 else x + 1, {"x": (0, 1)}, evaluate_guards=True)
    x, y = arguments()
    close(model(x, y), x * 2)
    with pytest.raises(InputError) as caught:
        model(torch.randn(6, 3), y)
    assert "6 <= x.shape[1]" in caught.value.why
    assert "if x.shape[1] > 5 else" in caught.value.why
    assert "now x.shape[1] is 3" in caught.value.why
    assert "file a bug" not in str(caught.value)


_SYMBOLS = {name: sympy.Symbol(name, integer=True, positive=True) for name in ("s0", "s1")}


def _terms() -> st.SearchStrategy[Any]:
    leaves = st.one_of(st.sampled_from(list(_SYMBOLS.values())), st.integers(0, 40).map(sympy.Integer))

    def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        number = st.integers(1, 9)
        return st.one_of(
            st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1]),
            st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1]),
            st.tuples(inner, number).map(lambda pair: FloorDiv(pair[0], pair[1])),
            st.tuples(inner, number).map(lambda pair: Mod(pair[0], pair[1])),
        )

    return st.recursive(leaves, grown, max_leaves=4)


@settings(max_examples=100, deadline=None)
@given(
    _terms(),
    _terms(),
    st.sampled_from([sympy.Eq, sympy.Ne, sympy.Lt, sympy.Le]),
    st.tuples(st.integers(1, 12), st.integers(0, 25)),
    st.tuples(st.integers(1, 12), st.integers(0, 25)),
)
def test_what_is_said_of_a_demand_is_so(
    one: Any, two: Any, relation: Any, first: tuple[int, int], second: tuple[int, int]
) -> None:
    expr = relation(one, two)
    spans = {
        symbol: [(start, start + length)]
        for symbol, (start, length) in zip(_SYMBOLS.values(), (first, second), strict=True)
    }
    demand = Demand(expr, str(expr), "")
    if not demand.symbols:
        return
    said = torch_internals.broken_by(demand, spans)
    if said:
        assert expr.subs(said) == False  # noqa: E712  (sympy's own truth value)
        assert all(low <= said[symbol] <= high for symbol in demand.symbols for low, high in spans[symbol])
    else:
        assert said is None, "ranges this short are tried to the end"
        values = [range(spans[symbol][0][0], spans[symbol][0][1] + 1) for symbol in demand.symbols]
        holds = sympy.lambdify(demand.symbols, expr, [{"FloorDiv": operator.floordiv, "Mod": operator.mod}, "math"])
        assert all(holds(*sizes) for sizes in product(*values))


def test_what_cannot_be_told_is_not_said_to_hold() -> None:
    one, two = _SYMBOLS.values()
    expr = sympy.Ne(one * one + 7 * two, 7 * 10**9 + 49)
    assert torch_internals.broken_by(Demand(expr, "", ""), {one: [(2, 1 << 40)], two: [(2, 1 << 40)]}) is not None
