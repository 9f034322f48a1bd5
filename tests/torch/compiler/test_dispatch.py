"""The batch size picks the linked function, whatever the ranges are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.compiler.build.ranges import Range, make_ranges, range_of
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.link.dispatch import make_dispatch
from cutaway.errors import InputError


def named(span: Range) -> Callable[..., Any]:
    return lambda *args: (span, args)


def dispatched(ranges: tuple[Range, ...], batch_size: int | tuple[int, int] = 0) -> Callable[..., Any]:
    return make_dispatch(ranges, [named(span) for span in ranges], batch_size)


ENDS = st.lists(st.integers(1, 40) | st.integers(60_000, 70_000) | st.integers(1, 2**31), unique=True, max_size=8)


@st.composite
def ranges_and_sizes(draw: st.DrawFn) -> tuple[tuple[Range, ...], list[int]]:
    ends = sorted(draw(ENDS))
    spans = tuple(zip(ends[::2], ends[1::2], strict=False)) or ((1, 5),)
    held = [size for start, end in spans for size in (start, end, (start + end) // 2)]
    singles = draw(st.lists(st.sampled_from(held), max_size=3))
    ranges = make_ranges(CompilationConfig(compile_ranges=spans, compile_sizes=singles))
    near = [size + step for size in held for step in (-1, 0, 1)]
    return ranges, draw(st.lists(st.sampled_from(near) | st.integers(0, 2**33), max_size=5))


@given(ranges_and_sizes())
def test_it_is_the_first_range_that_holds_the_size(made: tuple[tuple[Range, ...], list[int]]) -> None:
    ranges, sizes = made
    dispatch = dispatched(ranges)
    for size in sizes:
        expected = range_of(size, ranges)
        if expected is None:
            with pytest.raises(InputError, match=f"the batch size {size} lies outside"):
                dispatch(size)
        else:
            assert dispatch(size) == (expected, (size,))


RANGES = (Range(4, 4, is_single_size=True), Range(1, 8), Range(16, 32))


@pytest.mark.parametrize("size", [-33, -1, 0, 9, 15, 33, 1_000_000])
def test_a_size_outside_all_ranges_is_told_which_there_are_and_what_to_do(size: int) -> None:
    with pytest.raises(InputError) as caught:
        dispatched(RANGES)(size)
    assert str(size) in caught.value.what
    assert "[1, 8], [4, 4], [16, 32]" in caught.value.why
    assert "max_batch" in caught.value.cure


@pytest.mark.parametrize(("size", "picked"), [(1, 1), (4, 0), (5, 1), (8, 1), (16, 2), (32, 2)])
def test_the_size_of_a_tensor(size: int, picked: int) -> None:
    x = torch.zeros(3, size)
    assert dispatched(RANGES, (1, 1))("other", x) == (RANGES[picked], ("other", x))


def test_the_size_of_a_tensor_outside_all_ranges() -> None:
    with pytest.raises(InputError, match="the batch size 12 "):
        dispatched(RANGES, (0, 1))(torch.zeros(1, 12))


def test_one_range_over_all_that_an_encoder_may_be_given_takes_little_memory() -> None:
    dispatch = dispatched((Range(7, 7, is_single_size=True), Range(1, 2**31 - 1)))
    assert [dispatch(size)[0].start for size in (7, 1_000_000, 2**31 - 1)] == [7, 1, 1]
    table = next(cell.cell_contents for cell in dispatch.__closure__ if isinstance(cell.cell_contents, list))
    assert len(table) == 65_536


def test_what_the_function_raises_is_not_taken_for_a_size_too_large() -> None:
    def fails(size: int) -> None:
        raise IndexError("of its own")

    with pytest.raises(IndexError, match="of its own"):
        make_dispatch([Range(1, 2)], [fails], 0)(1)
