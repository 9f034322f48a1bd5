"""Inputs are copied to where they always are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cutaway.compiler.link.buffers import make_copy_and_call
from cutaway.errors import InputError


def returned(*args: Any) -> tuple[Any, ...]:
    return args


def test_the_named_inputs_lie_in_the_buffers_and_the_others_stay_as_they_are() -> None:
    first, third = torch.full((8, 2), -1.0), torch.full((8,), -1)
    weight, x, ids = torch.ones(2), torch.randn(3, 2), torch.arange(3)
    call = make_copy_and_call([0, 2], [first, third], returned)
    given = call(x, weight, ids, 3)
    assert torch.equal(given[0], x)
    assert torch.equal(given[2], ids)
    assert (given[1] is weight, given[3]) == (True, 3)
    assert [given[0].data_ptr(), given[2].data_ptr()] == [first.data_ptr(), third.data_ptr()]
    assert torch.equal(first[3:], torch.full((5, 2), -1.0))


def test_addresses_are_the_same_for_every_batch() -> None:
    call = make_copy_and_call([0], [torch.zeros(8, 2)], returned)
    addresses = {call(torch.randn(size, 2))[0].data_ptr() for size in (1, 8, 3)}
    assert len(addresses) == 1


def test_an_empty_batch() -> None:
    (given,) = make_copy_and_call([0], [torch.zeros(8, 2)], returned)(torch.zeros(0, 2))
    assert given.shape == (0, 2)


@pytest.mark.parametrize("shape", [(9, 2), (3, 1), (3,), (3, 2, 1)])
def test_what_does_not_fit_is_refused_and_not_broadcast(shape: tuple[int, ...]) -> None:
    buffer = torch.zeros(8, 2)
    with pytest.raises(InputError) as caught:
        make_copy_and_call([1], [buffer], returned)(0, torch.ones(shape))
    assert f"input 1 of shape {list(shape)}" in caught.value.what
    assert caught.value.cure
    assert not buffer.any()
