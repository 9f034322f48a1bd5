"""How far two values are apart: in units in the last place, absolutely and relatively."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.replay import compare as module
from cutaway.replay.compare import TOLERANCES, compare
from cutaway.replay.job import Comparison
from cutaway.replay.unwritten import mark

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
EIGHT_BITS = [torch.float8_e4m3fn, torch.float8_e5m2]


def both(one: Any, other: Any, **options: Any) -> Comparison:
    return compare([one], [other], **options)


def stepped(value: torch.Tensor, steps: int) -> torch.Tensor:
    """The float so many floats further from zero."""
    bits = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}[value.element_size()]
    return (value.view(bits) + steps).view(value.dtype)


@pytest.mark.parametrize("dtype", FLOATS + EIGHT_BITS, ids=str)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("steps", [1, 5])
def test_neighbours_are_one_unit_apart(dtype: torch.dtype, sign: int, steps: int) -> None:
    value = torch.tensor([sign * 1.5], dtype=torch.float64).to(dtype)
    found = both(value, stepped(value, steps))
    assert (found.ulp, found.differing, found.at) == (steps, 1, [0])
    assert found.absolute == abs(float(stepped(value, steps).double()) - float(value.double()))
    assert found.relative == pytest.approx((found.absolute or 0) / 1.5)


@given(st.floats(width=64), st.floats(width=64))
def test_distances_of_doubles(one: float, other: float) -> None:
    """As the order of their bits says; 0 and -0, and all NaN, are the same."""
    found = both(torch.tensor([one], dtype=torch.float64), torch.tensor([other], dtype=torch.float64))
    back = both(torch.tensor([other], dtype=torch.float64), torch.tensor([one], dtype=torch.float64))
    assert (found.verdict == "same") == (one == other or (math.isnan(one) and math.isnan(other)))
    assert (found.differing, found.ulp, found.absolute) == (back.differing, back.ulp, back.absolute)
    if not (math.isfinite(one) and math.isfinite(other)):
        assert found.verdict in ("same", "apart")
        assert found.verdict == "same" or (found.ulp, found.absolute, found.relative) == (None, None, None)
        return
    numbers = [struct.unpack("<q", struct.pack("<d", value))[0] for value in (one, other)]
    places = [number if number >= 0 else -(2**63) - number for number in numbers]
    distance = abs(places[0] - places[1])
    assert (found.ulp or 0) == (distance if distance < 2**62 else min(distance, 2**63 - 1))


@given(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=40), st.integers(1, 7))
def test_many_are_as_each(pairs: list[tuple[float, float]], chunk: int) -> None:
    """The answer about a tensor is the worst of its elements, however it is cut up."""
    one, other = (torch.tensor(some, dtype=torch.float32) for some in zip(*pairs, strict=True))
    each = [both(left, right) for left, right in zip(one, other, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        found = both(one, other)
    assert found.differing == sum(single.differing for single in each)
    assert found.beyond == sum(single.beyond for single in each)
    differing = [single for single in each if single.differing]
    if differing:
        ulps = [single.ulp for single in differing]
        assert found.ulp == (None if None in ulps else max(ulp for ulp in ulps if ulp is not None))
        assert found.at is not None
        assert each[found.at[0]].differing
        assert found.values == each[found.at[0]].values
    worst = max(each, key=lambda single: ("same", "close", "apart").index(single.verdict))
    assert found.verdict == worst.verdict


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_tolerances_of_each_dtype(dtype: torch.dtype) -> None:
    rtol, atol = TOLERANCES[dtype]
    one = torch.ones(3, dtype=dtype)
    near, far = one + (rtol + atol) / 2, one + 3 * (rtol + atol)
    assert both(one, near).verdict == "close"
    assert both(one, far).verdict == "apart"
    assert both(one, far, rtol=4 * (rtol + atol)).verdict == "close"
    assert both(one, near, rtol=0.0, atol=0.0).verdict == "apart"
    assert both(one, one.clone(), rtol=0.0, atol=0.0).verdict == "same"


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_a_short_float_may_differ_by_its_last_place(dtype: torch.dtype) -> None:
    one = torch.ones(3).to(dtype)
    assert both(one, stepped(one, 1)).verdict == "close"
    assert both(one, stepped(one, 2)).verdict == "apart"


def test_the_worst_element_is_named() -> None:
    one, other = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    other[1, 2, 3], other[0, 1, 1] = 1e-7, 2.5
    found = both(one, other)
    assert (found.differing, found.beyond, found.elements) == (2, 1, 24)
    assert (found.at, found.values) == ([0, 1, 1], ("0", "2.5"))
    assert found.absolute == 2.5
    assert found.relative is None  # of zero
    assert found.types == ("f32[2, 3, 4]", "f32[2, 3, 4]")


def test_nan_and_infinity() -> None:
    nan, inf = math.nan, math.inf
    one = torch.tensor([nan, inf, -inf, 1.0])
    assert both(one, one.clone()).verdict == "same"
    for other in ([1.0, inf, -inf, 1.0], [nan, -inf, -inf, 1.0], [nan, inf, -inf, nan], [nan, 3e38, -inf, 1.0]):
        found = both(one, torch.tensor(other))
        assert (found.verdict, found.differing, found.beyond) == ("apart", 1, 1)
        assert (found.ulp, found.absolute) == (None, None)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.int8], ids=str)
def test_integers_are_equal_or_not(dtype: torch.dtype) -> None:
    one = torch.tensor([0, 1, 1]).to(dtype)
    other = torch.tensor([0, 1, 0]).to(dtype)
    assert both(one, one.clone()).verdict == "same"
    found = both(one, other)
    assert (found.verdict, found.differing, found.beyond, found.ulp, found.at) == ("apart", 1, 1, None, [2])


def test_complex_numbers() -> None:
    one = torch.tensor([1 + 1j, 2 + 0j])
    assert both(one, one.clone()).verdict == "same"
    found = both(one, one + torch.tensor([0, 1j]))
    assert (found.verdict, found.at, found.elements) == ("apart", [1], 2)


def test_another_kind() -> None:
    one = torch.ones(2, 3)
    assert both(one, one.double()).why == "another dtype"
    assert both(one, torch.ones(3, 2)).why == "another shape"
    assert both(one, 1.0).why == "one of them is no tensor"
    assert compare([one], [one, one]).why == "1 value against 2 values"
    assert {both(one, other).verdict for other in (one.double(), torch.ones(3, 2), 1.0)} == {"kind"}


def test_the_same_elements_in_another_shape() -> None:
    """As the value of a node that was rewritten; never as a result."""
    one = torch.arange(6.0).reshape(2, 3)
    assert both(one, one.reshape(3, 2)).verdict == "kind"
    assert both(one, one.reshape(3, 2), reshape=True).verdict == "same"
    assert both(one, one.reshape(3, 2) + 1, reshape=True).verdict == "kind"
    assert both(one, torch.ones(7), reshape=True).verdict == "kind"


def test_strides_are_told_and_are_no_other_value() -> None:
    one = torch.randn(4, 5)
    found = both(one, one.t().contiguous().t())
    assert (found.verdict, found.strides) == ("same", ([5, 1], [1, 4]))
    assert both(torch.ones(1, 5), torch.ones(5, 1).t()).strides is None  # one row has none that counts


def test_memory_that_nobody_has_written_to() -> None:
    for dtype in FLOATS:
        blank = torch.empty(3, dtype=dtype)
        mark(blank)
        assert blank.isnan().all()
        assert both(blank, blank.clone()).verdict == "unwritten"
        assert both(blank, torch.ones(3, dtype=dtype)).verdict == "unwritten"
        found = both(torch.ones(3, dtype=dtype), blank)
        assert (found.verdict, found.beyond) == ("apart", 3)
        half = blank.clone()
        half[1] = 2
        found = both(half, torch.tensor([1, 2, 3]).to(dtype))
        assert (found.verdict, found.unwritten) == ("same", 2)
    assert both(torch.full((3,), math.nan), torch.full((3,), math.nan)).verdict == "same"  # any other NaN is a value


def test_marks_survive_moves() -> None:
    blank = torch.empty(2, 3)
    mark(blank)
    moved = torch.cat([blank.t().contiguous().view(-1), torch.ones(2)])[None].expand(2, -1).clone()
    assert both(moved, moved.clone()).unwritten == 12


def test_numbers_and_texts() -> None:
    assert both(3, 3).verdict == "same"
    assert both(math.nan, math.nan).verdict == "same"
    found = both(3, 4)
    assert (found.verdict, found.values) == ("apart", ("3", "4"))
    assert both(object(), object()).verdict == "skipped"
    assert compare([], []).verdict == "skipped"
    assert compare([1, 2], [1]).verdict == "skipped"  # a shape, taken apart otherwise


def test_the_worst_of_several_values() -> None:
    one = [torch.zeros(2), torch.zeros(2), torch.zeros(2)]
    found = compare(one, [torch.zeros(2), torch.ones(2), torch.full((2,), 1e-7)])
    assert (found.verdict, found.leaf) == ("apart", 1)


def test_empty_tensors_and_scalars() -> None:
    assert both(torch.empty(0, 3), torch.empty(0, 3)).verdict == "same"
    found = both(torch.tensor(1.0), torch.tensor(2.0))
    assert (found.verdict, found.at) == ("apart", [])
