"""The comparison with native finds what it is for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from cutaway.ops import Case, check_op, register_op


@register_op(allow_inplace=True)
def checked(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = x.clone() if x_other is None else x + x_other
    return (total.float() * weight.float()).to(x.dtype), total


@checked.register_input_generator(with_other=(True, False))
def _inputs(dtype: torch.dtype, num_tokens: int, hidden: int, with_other: bool, wide: bool = False) -> tuple[Any, ...]:
    x = torch.randn(num_tokens, hidden * (1 + wide), dtype=dtype)
    return x, torch.randn_like(x) if with_other else None, torch.rand(x.shape[-1], dtype=dtype)


def right(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    return checked.impls["native"].function(x, x_other, weight)


def in_lower_precision(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = right(x, x_other, weight)[1]
    return (total.to(torch.bfloat16) * weight.to(torch.bfloat16)).to(x.dtype), total


def writes(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    outputs = right(x, x_other, weight)
    x.add_(1)
    return outputs


def returns_argument(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    out, total = right(x, x_other, weight)
    return out, x if x_other is None else total


def transposed(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    out, total = right(x, x_other, weight)
    return out.t().contiguous().t(), total


def one_output(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    return right(x, x_other, weight)[:1]  # type: ignore[return-value]


def with_nan(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    out, total = right(x, x_other, weight)
    return out.index_fill(-1, torch.tensor([3]), float("nan")), total


def raises(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    raise ValueError("no such kernel")


FAULTS = {
    in_lower_precision: "elements are beyond",
    writes: "writes to argument 'x'",
    returns_argument: "output 1 is memory of argument 'x'",
    transposed: "with stride",
    one_output: "returns 1 tensors, the fake of the op 2",
    with_nan: "is nan at",
    raises: "ValueError: no such kernel",
}
for fault in FAULTS:
    checked.register_impl(fault.__name__)(fault)
checked.register_impl("right")(right)


@checked.register_impl("inplace", inplace=True, supports_args=lambda x, x_other, weight: x_other is not None)
def _inplace(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    assert x_other is not None
    x_other.add_(x)
    x.copy_(x_other.float() * weight.float())
    return x, x_other


@checked.register_impl("writes_to_weight", inplace=True)
def _writes_to_weight(x: Tensor, x_other: Tensor | None, weight: Tensor) -> tuple[Tensor, Tensor]:
    outputs = right(x, x_other, weight)
    weight.zero_()
    return outputs


checked.register_impl("elsewhere", supported=False)(right)


@pytest.mark.parametrize(("function", "text"), FAULTS.items(), ids=[function.__name__ for function in FAULTS])
def test_a_fault_is_found_and_said(function: Callable[..., Any], text: str) -> None:
    rows = check_op(checked, [function.__name__])
    failed = [row for row in rows if row.outcome == "failed"]
    assert failed
    assert all(text in row.problem and row.error > 1 for row in failed)


def test_an_implementation_that_is_right_is_equal_in_every_case() -> None:
    assert {row.outcome for row in check_op(checked, ["native", "right"])} == {"equal"}


def test_one_that_refuses_arguments_is_not_asked_for_them() -> None:
    rows = check_op(checked, ["inplace"])
    assert {row.outcome for row in rows if "with_other=True" in row.case} == {"equal"}
    assert {row.outcome for row in rows if "with_other=False" in row.case} == {"refused"}


def test_an_in_place_one_may_write_to_activations_alone() -> None:
    rows = [row for row in check_op(checked, ["writes_to_weight"]) if "num_tokens=33" in row.case]
    assert {row.problem for row in rows} == {"it writes to argument 'weight'"}


def test_what_differs_within_the_tolerance_is_close() -> None:
    @register_op
    def check_close(x: Tensor) -> Tensor:
        return x.exp()

    check_close.register_input_generator(lambda dtype, num_tokens: (torch.randn(num_tokens, 8, dtype=dtype),))

    @check_close.register_impl("nearly")
    def nearly(x: Tensor) -> Tensor:
        return x.exp() * (1 + 4e-6)

    rows = [row for row in check_op(check_close, ["nearly"]) if "float32" in row.case and "=0" not in row.case]
    assert {row.outcome for row in rows} == {"close"}
    assert all(0 < row.error < 0.5 for row in rows)
    check_close.override_tolerance(torch.float32, atol=0, rtol=1e-7)
    assert check_op(check_close, ["nearly"])[0].outcome == "failed"


def test_a_fake_that_says_something_else_is_found() -> None:
    @register_op
    def check_fake(x: Tensor) -> Tensor:
        return x.exp()

    check_fake.register_input_generator(dtype=[torch.float32])(lambda dtype: (torch.randn(3, dtype=dtype),))

    @check_fake.register_fake
    def fake(x: Tensor) -> Tensor:
        return torch.empty_like(x, dtype=torch.bfloat16)

    (row,) = check_op(check_fake)
    assert (row.provider, row.outcome) == ("native", "failed")
    assert "float32[3] with stride [1] on cpu, the fake of the op says bfloat16[3]" in row.problem


def test_the_table_is_the_product_of_the_axes_and_its_names_are_stable() -> None:
    cases = checked.cases()
    assert len(cases) == 3 * 3 * 2 * 2
    assert str(cases[0]) == "float32-num_tokens=1-hidden=64-with_other=True-wide=False"
    assert len({str(case) for case in cases}) == len(set(cases)) == len(cases)
    assert isinstance(cases[0], Case)


def test_arguments_are_the_same_for_the_same_seed_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first, again, other = (checked.generate_inputs(hidden=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (1, 4)
    assert checked.generate_inputs(num_tokens=7, dtype=torch.float64, wide=True, hidden=2)[0].shape == (7, 4)
    assert checked.generate_inputs(device="meta")[0].is_meta


def test_bad_requests_are_answered() -> None:
    @register_op
    def check_without(x: Tensor) -> Tensor:
        return x.exp()

    with refused("check_without", "no input generator", "register_input_generator"):
        check_without.cases()
    with refused("checked", "takes no 'hiden'", "num_tokens", "did you mean 'hidden'"):
        checked.generate_inputs(hiden=3)
    with refused("checked", "no parameter 'token'", "it takes: x", "add the parameter"):
        checked.register_input_generator(token=(1, 2))(lambda x: (x,))
    with refused("checked", "parameter 'rows'", "no values", "dtype, num_tokens, hidden", "rows=(…, …)"):
        checked.register_input_generator(lambda rows: (torch.ones(rows),))
    with refused("checked", "axis 'rows'", "list of values"):
        checked.register_input_generator(rows=())(lambda rows: (torch.ones(rows),))
    with refused("checked", "no provider 'wrong'", "it has: native"):
        check_op(checked, ["wrong"])
    with refused("checked", "cannot be checked", "does not support", "native, in_lower_precision"):
        check_op(checked, ["elsewhere"])


@pytest.mark.parametrize(
    ("dtype", "atol", "rtol"), [(torch.bool, 0, 0), (torch.int64, 0, 0), (torch.int8, 1, 0)], ids=str
)
def test_what_is_no_floating_point_number_is_exact_unless_it_is_quantised(
    dtype: torch.dtype, atol: float, rtol: float
) -> None:
    assert checked.tolerance(dtype) == {"atol": atol, "rtol": rtol}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_the_tolerance_of_a_quantised_number_is_one_step(dtype: torch.dtype) -> None:
    """Every finite number is within the tolerance of its neighbours, and not of theirs, unless rounding hides it."""
    numbers = torch.arange(1, 256, dtype=torch.uint8).view(dtype).float()
    numbers = numbers[numbers.isfinite() & (numbers > 0)].unique()
    atol, rtol = checked.tolerance(dtype).values()
    steps = numbers[1:] - numbers[:-1]
    assert bool((steps <= atol + rtol * numbers[:-1]).all())
    assert bool((numbers[2:] - numbers[:-2] > rtol * numbers[:-2]).all())
