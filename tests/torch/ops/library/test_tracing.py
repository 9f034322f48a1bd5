"""The providers under make_fx and Inductor: opaque nodes, an unknown number of tokens, none, and one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from cutaway.ops import enable_torch_wrap, kernels, library, registry, set_priority

pytestmark = pytest.mark.skipif(not kernels.available(), reason="there is no C++ compiler")

CPP = {name: ["cpp", "native"] for name in library.__all__}
NATIVE = {name: ["native"] for name in library.__all__}
FP8 = torch.float8_e4m3fn


def layer(
    x: Tensor, residual: Tensor, weight: Tensor, scale: Tensor, positions: Tensor, heads: Tensor, cache: Tensor
) -> tuple[Tensor, ...]:
    """Every op once."""
    normed = library.rms_norm(x, weight, 1e-6)
    out, residual = library.fused_add_rms_norm(normed, residual, weight, 1e-6)
    both = torch.cat((out, normed), -1)
    gated = library.silu_and_mul(both) + library.gelu_and_mul(both, "tanh")
    query, key = library.rotary_embedding(positions, heads[:, :64], heads[:, 64:], cache, 16, True)
    return (
        out,
        gated,
        query,
        key,
        library.static_quant(gated, scale, FP8),
        *library.dynamic_per_token_quant(gated, torch.int8),
        library.rms_norm_static_quant(gated, weight, scale, 1e-6, torch.int8),
        *library.rms_norm_dynamic_quant(gated, None, 1e-6, FP8),
        *library.fused_add_rms_norm_static_quant(gated, residual, weight, scale, 1e-6, FP8),
        *library.fused_add_rms_norm_dynamic_quant(gated, residual, weight, 1e-6, torch.int8),
    )


def arguments(tokens: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(torch.bfloat16)

    positions = torch.arange(tokens)
    return made(tokens, 64), made(tokens, 64), made(64), torch.tensor([0.01]), positions, made(tokens, 96), made(50, 16)


def traced(*args: Tensor) -> tuple[Tensor, ...]:
    """With the chosen implementations in the ops' places."""
    with enable_torch_wrap(False):
        return layer(*args)


def kernels_in(graph: torch.fx.Graph) -> set[str]:
    return {node.target.name().partition("::")[2] for node in graph.nodes if str(node.target).startswith("cutaway_cpp")}


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_kernels_are_traced_as_one_node_each(mode: Any) -> None:
    with set_priority(CPP):
        gm = make_fx(traced, tracing_mode=mode)(*arguments(5))
    assert kernels_in(gm.graph) == set(library.__all__)
    with set_priority(CPP):
        expected = traced(*arguments(5))
    assert all(map(torch.equal, map(Tensor.float, gm(*arguments(5))), map(Tensor.float, expected)))


def test_native_is_traced_as_torch_ops() -> None:
    with set_priority(NATIVE):
        gm = make_fx(traced, tracing_mode="symbolic")(*arguments(5))
    called = {node.target for node in gm.graph.nodes if node.op == "call_function"}
    assert {target.namespace for target in called if isinstance(target, torch._ops.OpOverload)} == {"aten"}


@pytest.mark.parametrize("function", [traced, layer], ids=["kernels", "opaque ops"])
def test_compiled_with_an_unknown_number_of_tokens(function: Callable[..., tuple[Tensor, ...]]) -> None:
    compiled = torch.compile(function, dynamic=True, fullgraph=True)
    with torch.inference_mode(), set_priority(CPP):
        for tokens in (7, 33, 2, 1, 0):
            args = arguments(tokens)
            found = compiled(*[argument.clone() for argument in args])
            for number, (out, expected) in enumerate(zip(found, traced(*args), strict=True)):
                assert (out.dtype, out.shape, out.stride()) == (expected.dtype, expected.shape, expected.stride())
                assert torch.equal(out.float(), expected.float()), (tokens, number)


def test_compiled_native_is_within_tolerance() -> None:
    """Inductor keeps float32 where the native bodies round."""
    names = ("rms_norm", "fused_add_rms_norm", "silu_and_mul", "gelu_and_mul", "static_quant", "rotary_embedding")
    for name in names:
        op = registry[name]
        args = op.generate_inputs(dtype=torch.bfloat16, num_tokens=33)
        native = op.impls["native"].function
        expected, found = native(*args), torch.compile(native, dynamic=True, fullgraph=True)(*args)
        for out, due in zip(
            *((value,) if isinstance(value, Tensor) else value for value in (found, expected)), strict=True
        ):
            tolerance = op.tolerance(due.dtype)
            assert out.stride() == due.stride()
            torch.testing.assert_close(out.float(), due.float(), **tolerance)


def test_in_place_provider_writes_into_what_was_given_away() -> None:
    x, residual, weight, *_ = arguments(9)
    expected = library.fused_add_rms_norm.impls["native"].function(x, residual, weight, 1e-6)
    given, given_residual = x.clone(), residual.clone()
    with set_priority(CPP), enable_torch_wrap(False):
        out, total = library.fused_add_rms_norm.maybe_inplace(given, given_residual, weight, 1e-6)
        assert out.data_ptr() == given.data_ptr()
        assert total.data_ptr() == given_residual.data_ptr()
        assert torch.equal(total, expected[1])
        torch.testing.assert_close(out, expected[0], atol=1e-3, rtol=2**-6)
        again, _ = library.fused_add_rms_norm(x, residual, weight, 1e-6)
    assert again.data_ptr() != x.data_ptr()
    assert torch.equal(x, arguments(9)[0])


def test_what_is_not_contiguous_is_not_written_in_place() -> None:
    x = torch.randn(6, 128)[:, :64]
    with set_priority(CPP):
        chosen = library.fused_add_rms_norm.dispatch(x, torch.randn(6, 64), None, 1e-6)
    assert chosen.provider == "native"
