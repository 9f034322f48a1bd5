"""What the ops mean: their native bodies against the formulas, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused
from torch import Tensor

from cutaway.ops import library, registry

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
FP8 = torch.float8_e4m3fn


def native(name: str, *args: Any) -> Any:
    return registry[name].impls["native"].function(*args)


def bits(value: Tensor) -> Tensor:
    """To compare with: NaN is NaN, and 0 is not -0."""
    return torch.nan_to_num(value.float(), 7.25).view(torch.int32)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return first.dtype == second.dtype and torch.equal(bits(first), bits(second))
    return len(first) == len(second) and all(map(same, first, second))


rows = st.tuples(st.sampled_from(DTYPES), st.integers(0, 5), st.integers(1, 70), st.integers(0, 2**31))


def tensors(dtype: torch.dtype, tokens: int, hidden: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, residual, weight = (
        torch.randn(shape, generator=generator) for shape in ((tokens, hidden), (tokens, hidden), (hidden,))
    )
    return (3 * x).to(dtype), residual.to(dtype), weight.to(dtype)


@given(rows, st.booleans())
def test_rms_norm_is_its_formula(case: Any, with_weight: bool) -> None:
    x, _, weight = tensors(*case)
    wide = x.double()
    expected = wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    if with_weight:
        expected = expected * weight.double()
    found = native("rms_norm", x, weight if with_weight else None, 1e-6)
    assert found.dtype == x.dtype
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=3 * torch.finfo(x.dtype).eps)


@given(rows)
def test_fused_add_rms_norm_is_an_addition_and_rms_norm(case: Any) -> None:
    x, residual, weight = tensors(*case)
    total = x + residual
    composed = (native("rms_norm", total, weight, 1e-5), total)
    assert same(native("fused_add_rms_norm", x, residual, weight, 1e-5), composed)


@given(rows, st.sampled_from((FP8, torch.int8)), st.booleans())
def test_fused_quantisation_is_the_ops_one_after_the_other(case: Any, dtype: torch.dtype, with_weight: bool) -> None:
    x, residual, weight = tensors(*case)
    given_weight, scale = weight if with_weight else None, torch.tensor(0.013)
    normed = native("rms_norm", x, given_weight, 1e-6)
    added, total = native("fused_add_rms_norm", x, residual, given_weight, 1e-6)
    assert same(
        native("rms_norm_static_quant", x, given_weight, scale, 1e-6, dtype),
        native("static_quant", normed, scale, dtype),
    )
    assert same(
        native("rms_norm_dynamic_quant", x, given_weight, 1e-6, dtype),
        native("dynamic_per_token_quant", normed, dtype),
    )
    assert same(
        native("fused_add_rms_norm_static_quant", x, residual, given_weight, scale, 1e-6, dtype),
        (native("static_quant", added, scale, dtype), total),
    )
    assert same(
        native("fused_add_rms_norm_dynamic_quant", x, residual, given_weight, 1e-6, dtype),
        (*native("dynamic_per_token_quant", added, dtype), total),
    )


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("silu_and_mul", lambda z: z * torch.sigmoid(z)),
        ("gelu_and_mul", lambda z: z * torch.special.ndtr(z)),
    ],
)
def test_gate_is_activated(name: str, function: Any) -> None:
    x = torch.randn(5, 40)
    gate, up = x.double().chunk(2, dim=-1)
    torch.testing.assert_close(native(name, x).double(), function(gate) * up, atol=1e-5, rtol=1e-5)


@given(rows, st.booleans(), st.integers(0, 4))
def test_rotation_is_a_product_of_complex_numbers(case: Any, is_neox: bool, unrotated: int) -> None:
    dtype, tokens, half, seed = case
    generator = torch.Generator().manual_seed(seed)
    head = 2 * half + unrotated
    query = torch.randn(tokens, 3, head, generator=generator).to(dtype)
    key = torch.randn(tokens, head, generator=generator).to(dtype)
    angles = 6 * torch.rand(20, half, generator=generator)
    cache = torch.cat((angles.cos(), angles.sin()), dim=-1)
    positions = torch.randint(0, 20, (tokens,), generator=generator)
    turns = torch.polar(torch.ones(20, half), angles).to(torch.complex128)[positions].unsqueeze(1)
    found = native("rotary_embedding", positions, query, key, cache, head, is_neox)
    for x, turned in zip((query, key), found, strict=True):
        heads = x.reshape(tokens, x[:1].numel() // head if tokens else 1, head)
        parts = heads[..., : 2 * half].double()
        first, second = (parts[..., :half], parts[..., half:]) if is_neox else (parts[..., ::2], parts[..., 1::2])
        product = torch.complex(first, second) * turns
        pairs = (product.real, product.imag)
        expected = torch.cat(pairs, -1) if is_neox else torch.stack(pairs, -1).flatten(-2)
        expected = torch.cat((expected, heads[..., 2 * half :].double()), -1).reshape(x.shape)
        torch.testing.assert_close(turned.double(), expected, atol=1e-5, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [FP8, torch.int8], ids=["fp8", "int8"])
def test_dynamic_scale_makes_the_largest_entry_the_largest_there_is(dtype: torch.dtype) -> None:
    x = torch.randn(9, 50)
    quantised, scales = native("dynamic_per_token_quant", x, dtype)
    assert quantised.float().abs().amax(-1).tolist() == [448.0 if dtype == FP8 else 127.0] * 9
    torch.testing.assert_close(
        quantised.float() * scales, x, atol=float(scales.max()) * (16 if dtype == FP8 else 0.51), rtol=0
    )


@pytest.mark.parametrize("dtype", [FP8, torch.int8], ids=["fp8", "int8"])
def test_row_of_zeros_is_quantised_to_zeros(dtype: torch.dtype) -> None:
    quantised, scales = native("dynamic_per_token_quant", torch.zeros(2, 8), dtype)
    assert quantised.float().tolist() == torch.zeros(2, 8).tolist()
    assert bool((scales > 0).all())


def test_int8_is_rounded_half_to_even_and_clamped() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 300.0, -128.5, -900.0])
    found = native("static_quant", x, torch.tensor(1.0), torch.int8)
    assert found.tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -128, -128]


def test_fp8_is_clamped_and_keeps_nan() -> None:
    x = torch.tensor([500.0, float("inf"), float("-inf"), float("nan"), 0.0])
    found = native("static_quant", x, torch.tensor(1.0), FP8).float()
    assert found[:3].tolist() == [448, 448, -448]
    assert bool(found[3].isnan())


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("rms_norm", (torch.ones(2, 4), torch.ones(1), 1e-6), ("'rms_norm'", "[1]", "[2, 4]", "[4]")),
        ("rms_norm", (torch.ones(2, 4), torch.ones(2, 4), 1e-6), ("'rms_norm'", "[2, 4]")),
        ("fused_add_rms_norm", (torch.ones(2, 4), torch.ones(4), None, 1e-6), ("residual", "[4]", "[2, 4]")),
        (
            "fused_add_rms_norm",
            (torch.ones(2, 4), torch.ones(2, 4, dtype=torch.bfloat16), None, 1e-6),
            ("bfloat16", "float32"),
        ),
        ("silu_and_mul", (torch.ones(2, 3),), ("'silu_and_mul'", "[2, 3]")),
        ("gelu_and_mul", (torch.ones(2, 3),), ("'gelu_and_mul'", "[2, 3]")),
        ("gelu_and_mul", (torch.ones(2, 4), "sigmoid"), ("'sigmoid'", "'tanh'")),
        ("static_quant", (torch.ones(2, 4), torch.ones(1), torch.uint8), ("torch.uint8", "torch.int8")),
        ("static_quant", (torch.ones(2, 4), torch.ones(2, 1), torch.int8), ("[2, 1]", "one entry")),
        ("dynamic_per_token_quant", (torch.ones(2, 4), torch.float16), ("torch.float16", "float8_e4m3fn")),
        (
            "rms_norm_static_quant",
            (torch.ones(2, 4), torch.ones(3), torch.ones(1), 1e-6, torch.int8),
            ("'rms_norm", "[3]"),
        ),
        (
            "rotary_embedding",
            (torch.zeros(3, dtype=torch.long), torch.ones(2, 8), torch.ones(2, 8), torch.ones(9, 4), 4),
            ("query", "[2, 8]", "[3]"),
        ),
        (
            "rotary_embedding",
            (torch.zeros(2, dtype=torch.long), torch.ones(2, 8), torch.ones(2, 6), torch.ones(9, 4), 4),
            ("key", "[2, 6]", "heads"),
        ),
        (
            "rotary_embedding",
            (torch.zeros(2, dtype=torch.long), torch.ones(2, 8), torch.ones(2, 8), torch.ones(9, 6), 4),
            ("cos_sin_cache", "[9, 6]"),
        ),
    ],
)
@pytest.mark.parametrize("way", ["native", "cpp", "fake"])
def test_arguments_that_do_not_fit_are_refused(
    way: str, name: str, args: tuple[Any, ...], said: tuple[str, ...]
) -> None:
    op = registry[name]
    functions = {"native": op.impls["native"].function, "cpp": op.impls["cpp"].function, "fake": op.fake}
    with refused(*said):
        functions[way](*args)


def test_the_package_names_its_ops() -> None:
    assert {name: registry[name] for name in library.__all__} == {
        name: getattr(library, name) for name in library.__all__
    }
