"""The C++ kernels: every rounding as torch's, any strides, any number of threads, and nothing beyond the ends."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from torch import Tensor

from cutaway.ops import kernels, registry
from cutaway.ops.kernels import schemas

pytestmark = pytest.mark.skipif(not kernels.available(), reason="there is no C++ compiler")

FP8 = torch.float8_e4m3fn
HALVES = (torch.bfloat16, torch.float16)
FLOATS = (torch.float32, *HALVES)


def native(name: str, *args: Any) -> Any:
    return registry[name].impls["native"].function(*args)


def same(first: Tensor, second: Tensor) -> bool:
    """Bit for bit, but for the bits of a NaN."""
    wide = [torch.nan_to_num(value.float(), 7.25).view(torch.int32) for value in (first, second)]
    return torch.equal(*wide) and torch.equal(first.float().isnan(), second.float().isnan())


def all_of(dtype: torch.dtype) -> Tensor:
    """Every number of 16 bits; of float32, numbers of all exponents, and those near where the rounding changes."""
    if dtype in HALVES:
        return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype).reshape(64, 1024)
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-(2**31), 2**31, (512, 1024), generator=generator).to(torch.int32)
    near = torch.tensor(
        [2**-24, 2**-14, 2**-10, 2**-9, 2**-6, 1.0, 127.5, 128.5, 448.0, 464.0, 480.0, 65504.0, 65520.0]
    )
    steps = near.view(torch.int32).unsqueeze(1) + torch.arange(-512, 512, dtype=torch.int32)
    return torch.cat((exponents, steps, steps | -(2**31))).view(torch.float32)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_fp8_is_rounded_as_torch_does(dtype: torch.dtype) -> None:
    x = all_of(dtype)
    found = kernels.ops.static_quant(x, torch.ones(1), FP8)
    assert same(found, x.float().clamp(-448, 448).to(FP8))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_int8_is_rounded_as_torch_does(dtype: torch.dtype) -> None:
    x = all_of(dtype)
    found = kernels.ops.static_quant(x, torch.ones(1), torch.int8)
    expected = x.float().round().clamp(-128, 127)
    assert bool(((found.float() == expected) | x.isnan()).all())
    assert found[x.isnan()].count_nonzero() == 0


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_sixteen_bits_are_rounded_as_torch_does(dtype: torch.dtype) -> None:
    """What is added is rounded and stored: the sum of every number with others of all sizes."""
    x = all_of(dtype)
    for shift in (0, 1, 1024, 5000, 31744):
        residual = x.flatten().roll(shift).view_as(x).clone()
        expected = x + residual
        kernels.ops.fused_add_rms_norm(x.clone(), residual, None, 1e-6)
        assert same(residual, expected)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_what_is_not_rotated_passes_unchanged(dtype: torch.dtype) -> None:
    x = all_of(dtype)
    cache = torch.tensor([[1.0, 0.0]])
    positions = torch.zeros(64, dtype=torch.int64)
    query, _ = kernels.ops.rotary_embedding(positions, x, x[:, :8], cache, 8, True)
    untouched = torch.arange(1024) % 8 > 1
    assert same(query[:, untouched], x[:, untouched])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["silu_and_mul", "gelu_and_mul", "gelu_and_mul tanh"])
def test_infinities_and_nan_come_out_as_they_do_of_torch(name: str, dtype: torch.dtype) -> None:
    name, _, tanh = name.partition(" ")
    numbers = (math.inf, -math.inf, math.nan, 1e30, -1e30, 0.0, -0.0, 100.0, -100.0, -88.5, 88.5)
    gate = torch.cat((torch.tensor(numbers).to(dtype), torch.full((1,), -1, dtype=torch.int32).view(dtype)[:1]))
    x = torch.cat((gate, torch.ones_like(gate))).unsqueeze(0)
    args = (x, bool(tanh)) if name == "gelu_and_mul" else (x,)
    expected = native(name, x, *["tanh"][: bool(tanh)])
    expected[0, 0] = math.inf  # oneDNN, which torch asks for gelu in some dtypes, says NaN
    torch.testing.assert_close(getattr(kernels.ops, name)(*args), expected, atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_largest_entry_may_be_nan_or_infinite(dtype: torch.dtype) -> None:
    x = torch.randn(3, 37).to(dtype)
    x[0, 5], x[1, 36], x[2, 0] = float("nan"), float("inf"), float("-inf")
    for found, expected in zip(
        kernels.ops.dynamic_per_token_quant(x, FP8), native("dynamic_per_token_quant", x, FP8), strict=True
    ):
        assert same(found, expected)


@st.composite
def layouts(draw: st.DrawFn) -> Tensor:
    """A tensor of any shape and stride: part of a larger one, its dimensions in any order."""
    sizes = [*draw(st.lists(st.integers(0, 4), min_size=0, max_size=3)), draw(st.integers(1, 40))]
    steps = [draw(st.integers(1, 3)) for _ in sizes]
    order = draw(st.permutations(range(len(sizes))))
    dtype = draw(st.sampled_from(FLOATS))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    whole = torch.randn([sizes[dim] * steps[dim] + 2 for dim in order], generator=generator).to(dtype)
    view = whole.permute([order.index(dim) for dim in range(len(sizes))])
    for dim, (size, step) in enumerate(zip(sizes, steps, strict=True)):
        view = view.narrow(dim, 1, size * step)[(slice(None),) * dim + (slice(None, None, step),)]
    return view


@given(layouts(), st.sampled_from((FP8, torch.int8)))
def test_rows_are_found_whatever_the_strides(x: Tensor, dtype: torch.dtype) -> None:
    scale = torch.tensor(0.02)
    assert same(kernels.ops.static_quant(x, scale, dtype), native("static_quant", x, scale, dtype))
    for found, expected in zip(
        kernels.ops.dynamic_per_token_quant(x, dtype), native("dynamic_per_token_quant", x, dtype), strict=True
    ):
        assert found.stride() == expected.stride()
        assert same(found, expected)


@given(layouts(), layouts())
def test_in_place_writes_its_rows_and_nothing_else(x: Tensor, other: Tensor) -> None:
    """Also where rows lie apart; what lies between them stays."""
    residual = (
        other.flatten()[: x.numel()].to(x.dtype) if other.numel() >= x.numel() else torch.ones(x.numel()).to(x.dtype)
    )
    residual = residual.reshape(x.shape).contiguous()
    storage = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
    before = storage.clone()
    expected = native("fused_add_rms_norm", x, residual, None, 1e-6)
    kernels.ops.fused_add_rms_norm(x, residual, None, 1e-6)
    torch.testing.assert_close(x, expected[0], **registry["fused_add_rms_norm"].tolerance(x.dtype))
    assert same(residual, expected[1])
    written = torch.zeros_like(storage, dtype=torch.bool)
    written.as_strided(x.shape, x.stride(), x.storage_offset()).fill_(True)
    assert torch.equal(storage[~written], before[~written])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_threads_change_nothing(dtype: torch.dtype) -> None:
    x = torch.randn(257, 1030).to(dtype)
    weight = torch.randn(1030).to(dtype)
    positions, cache = torch.arange(257), torch.randn(300, 32)
    threads = torch.get_num_threads()

    def outputs() -> list[Tensor]:
        return [
            kernels.ops.rms_norm(x, weight, 1e-6),
            kernels.ops.silu_and_mul(x),
            *kernels.ops.dynamic_per_token_quant(x, FP8),
            *kernels.ops.fused_add_rms_norm_dynamic_quant(x, x, weight, 1e-6, torch.int8),
            *kernels.ops.rotary_embedding(positions, x[:, :1024], x[:, :64], cache, 64, False),
        ]

    try:
        torch.set_num_threads(1)
        alone = outputs()
        torch.set_num_threads(4)
        together = outputs()
    finally:
        torch.set_num_threads(threads)
    assert all(map(same, alone, together))


def test_python_threads_may_call_at_once() -> None:
    xs = [torch.randn(64, 512) for _ in range(16)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: kernels.ops.rms_norm(x, None, 1e-6), xs))
    for x, out in zip(xs, found, strict=True):
        torch.testing.assert_close(out, native("rms_norm", x, None, 1e-6))


FORKED = """
import os, torch
from cutaway.ops import kernels
torch.set_num_threads({threads})
x = torch.randn(512, 512)
expected = kernels.ops.rms_norm(x, None, 1e-6)
child = os.fork()
if child == 0:
    {first}
    os._exit(0 if torch.equal(kernels.ops.rms_norm(x, None, 1e-6), expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(("threads", "first"), [(1, "pass"), (2, "torch.set_num_threads(1)")])
def test_forked_process_may_call_with_one_thread(threads: int, first: str) -> None:
    code = FORKED.format(threads=threads, first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: kernels.ops.rms_norm(torch.ones(2, 4), torch.ones(3), 1e-6), "weight"),
        (lambda: kernels.ops.rms_norm(torch.ones(2, 4), torch.ones(1).expand(4)[:2], 1e-6), "weight"),
        (lambda: kernels.ops.rms_norm(torch.ones(2, 4).double(), None, 1e-6), "float32"),
        (lambda: kernels.ops.fused_add_rms_norm(torch.ones(2, 4), torch.ones(3, 4), None, 1e-6), "x_residual"),
        (lambda: kernels.ops.fused_add_rms_norm(torch.ones(2, 4), torch.ones(4), None, 1e-6), "x_residual"),
        (lambda: (lambda x: kernels.ops.fused_add_rms_norm(x, x, None, 1e-6))(torch.ones(2, 4)), "same memory"),
        (lambda: kernels.ops.silu_and_mul(torch.ones(2, 3)), "odd"),
        (lambda: kernels.ops.static_quant(torch.ones(2, 3), torch.ones(2), FP8), "scale"),
        (lambda: kernels.ops.static_quant(torch.ones(2, 3), torch.ones(1), torch.float16), "float8"),
        (lambda: kernels.ops.dynamic_per_token_quant(torch.ones(2, 0), FP8), "entries"),
        (lambda: rotary(torch.tensor([0, 9])), "position 9"),
        (lambda: rotary(torch.tensor([0, -1])), "position -1"),
        (lambda: rotary(torch.tensor([0, 1, 2])), "heads"),
        (lambda: rotary(torch.tensor([0.0, 1.0])), "int64"),
    ],
)
def test_kernels_refuse_what_they_would_read_beyond(call: Any, why: str) -> None:
    """Called past the ops, which refuse all this before."""
    with pytest.raises(RuntimeError, match=why):
        call()


def rotary(positions: Tensor) -> Any:
    return kernels.ops.rotary_embedding(positions, torch.ones(2, 8), torch.ones(2, 4), torch.ones(9, 4), 4, True)


def test_other_devices_are_refused() -> None:
    with refused("cutaway_cpp::rms_norm", "meta", "priority"):
        schemas._first_call("rms_norm")(torch.ones(2, 4, device="meta"), None, 1e-6)


def test_what_a_kernel_returns_can_be_told_without_running_it() -> None:
    """The fakes, with an unknown number of tokens and with none."""
    torch.library.opcheck(kernels.ops.rms_norm.default, (torch.randn(3, 5), torch.ones(5), 1e-6))
    torch.library.opcheck(kernels.ops.fused_add_rms_norm.default, (torch.randn(3, 5), torch.randn(3, 5), None, 1e-6))
    torch.library.opcheck(kernels.ops.silu_and_mul.default, (torch.randn(3, 6),))
    torch.library.opcheck(kernels.ops.gelu_and_mul.default, (torch.randn(3, 6), True))
    torch.library.opcheck(kernels.ops.static_quant.default, (torch.randn(3, 6), torch.ones(1), torch.int8))
    torch.library.opcheck(kernels.ops.dynamic_per_token_quant.default, (torch.randn(0, 6), torch.int8))
    norm = (torch.randn(2, 3, 6), torch.ones(6))
    added = (torch.randn(2, 3, 6), torch.randn(2, 3, 6), None)
    torch.library.opcheck(kernels.ops.rms_norm_static_quant.default, (*norm, torch.ones(1), 1e-6, torch.int8))
    torch.library.opcheck(kernels.ops.rms_norm_dynamic_quant.default, (*norm, 1e-6, torch.int8))
    torch.library.opcheck(
        kernels.ops.fused_add_rms_norm_static_quant.default, (*added, torch.ones(1), 1e-6, torch.int8)
    )
    torch.library.opcheck(kernels.ops.fused_add_rms_norm_dynamic_quant.default, (*added, 1e-6, torch.int8))
    heads = (torch.randn(2, 8), torch.randn(2, 4), torch.randn(9, 4), 4, False)
    torch.library.opcheck(kernels.ops.rotary_embedding.default, (torch.tensor([1, 7]), *heads))
