"""The operators ``torch.ops.cutaway_cpp``: their schemas, what their outputs look like, and the way to the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops.kernels.build import load

NAMESPACE = "cutaway_cpp"
FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16})
"""The dtypes that the kernels read."""

LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")
ops: Any = getattr(torch.ops, NAMESPACE)

Fake = Callable[..., Any]


def define(schema: str) -> Callable[[Fake], Fake]:
    """Define an operator; the decorated function says what its outputs look like.

    Its kernel comes with the compiled library, which registers it for the CPU. Until then a call ends in one that is
    registered for all devices: it loads the library, which may mean to compile it, and calls the operator anew.
    """
    name = schema.partition("(")[0]

    def register(fake: Fake) -> Fake:
        LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
        LIBRARY.impl(name, _first_call(name), "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=LIBRARY)
        return fake

    return register


def _first_call(name: str) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        elsewhere = {argument.device for argument in args if isinstance(argument, Tensor) and not argument.is_cpu}
        if elsewhere:
            raise OpError(
                f"{NAMESPACE}::{name} cannot run on {', '.join(map(str, elsewhere))}",
                "it is a kernel for the CPU",
                "put another provider first in the op's priority",
            )
        load()
        return getattr(ops, name).default(*args)

    return run


def new_like(x: Tensor, last: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """A contiguous tensor of x's shape: what every kernel returns.

    Args:
        x: any tensor.
        last: another size of the last dimension.
        dtype: another dtype.
    """
    return x.new_empty(x.shape if last is None else (*x.shape[:-1], last), dtype=x.dtype if dtype is None else dtype)


@define("rms_norm(Tensor x, Tensor? weight, float epsilon) -> Tensor")
def _rms_norm(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    return new_like(x)


@define("fused_add_rms_norm(Tensor(a!) x, Tensor(b!) x_residual, Tensor? weight, float epsilon) -> ()")
def _fused_add_rms_norm(x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float) -> None:
    return None


@define("silu_and_mul(Tensor x) -> Tensor")
def _silu_and_mul(x: Tensor) -> Tensor:
    return new_like(x, x.shape[-1] // 2)


@define("gelu_and_mul(Tensor x, bool tanh) -> Tensor")
def _gelu_and_mul(x: Tensor, tanh: bool) -> Tensor:
    return new_like(x, x.shape[-1] // 2)


@define(
    "rotary_embedding(Tensor positions, Tensor query, Tensor key, Tensor cos_sin_cache, SymInt head_size, bool is_neox)"
    " -> (Tensor, Tensor)"
)
def _rotary_embedding(
    positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int, is_neox: bool
) -> tuple[Tensor, Tensor]:
    return new_like(query), new_like(key)


@define("static_quant(Tensor x, Tensor scale, ScalarType dtype) -> Tensor")
def _static_quant(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return new_like(x, dtype=dtype)


@define("dynamic_per_token_quant(Tensor x, ScalarType dtype) -> (Tensor, Tensor)")
def _dynamic_per_token_quant(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return new_like(x, dtype=dtype), new_like(x, 1, torch.float32)


@define("rms_norm_static_quant(Tensor x, Tensor? weight, Tensor scale, float epsilon, ScalarType dtype) -> Tensor")
def _rms_norm_static_quant(
    x: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> Tensor:
    return new_like(x, dtype=dtype)


@define("rms_norm_dynamic_quant(Tensor x, Tensor? weight, float epsilon, ScalarType dtype) -> (Tensor, Tensor)")
def _rms_norm_dynamic_quant(
    x: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return new_like(x, dtype=dtype), new_like(x, 1, torch.float32)


@define(
    "fused_add_rms_norm_static_quant(Tensor x, Tensor x_residual, Tensor? weight, Tensor scale, float epsilon,"
    " ScalarType dtype) -> (Tensor, Tensor)"
)
def _fused_add_rms_norm_static_quant(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, scale: Tensor, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return new_like(x, dtype=dtype), new_like(x)


@define(
    "fused_add_rms_norm_dynamic_quant(Tensor x, Tensor x_residual, Tensor? weight, float epsilon, ScalarType dtype)"
    " -> (Tensor, Tensor, Tensor)"
)
def _fused_add_rms_norm_dynamic_quant(
    x: Tensor, x_residual: Tensor, weight: Tensor | None, epsilon: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    return new_like(x, dtype=dtype), new_like(x, 1, torch.float32), new_like(x)
