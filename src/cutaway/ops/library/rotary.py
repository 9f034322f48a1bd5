"""Rotary position embedding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cutaway.errors import OpError
from cutaway.ops import kernels, register_op

_LAYOUTS = ("rows", "split", "heads")  # as made by one projection each, by one for all, or head by head


@register_op(activations=["query", "key"])
def rotary_embedding(
    positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int, is_neox: bool = True
) -> tuple[Tensor, Tensor]:
    """Rotate the first ``rotary`` entries of every head, in pairs, by angles that depend on the token's position.

    ``(a, b) -> (a cos - b sin, b cos + a sin)``; entry i is paired with entry ``i + rotary / 2`` (GPT-NeoX), or each
    even entry with the next (GPT-J). Computed in float32 and rounded to query's dtype once. The other entries pass.

    Args:
        positions: ``[tokens]``, int32 or int64: rows of the cache; it may have more dimensions.
        query: ``[tokens, heads * head_size]`` or ``[tokens, heads, head_size]``, floating point; for tokens, whatever
            the shape of positions is.
        key: the same, with heads of its own.
        cos_sin_cache: ``[positions, rotary]``, floating point: the cosines, then the sines, of ``rotary / 2`` angles.
        head_size: entries of a head.
        is_neox: GPT-NeoX's pairs; otherwise GPT-J's.

    Returns:
        Query and key, rotated; contiguous.

    Raises:
        OpError: the sizes do not fit together.

    Source: Su et al., RoFormer (2021); vLLM's ``RotaryEmbedding`` (which rounds after each product, unless it is told
    to compute in float32).
    """
    check_rotary(positions, query, key, cos_sin_cache, head_size)
    angles = cos_sin_cache.index_select(0, positions.flatten()).to(torch.float32).unsqueeze(1)
    leading = positions.dim()
    return _rotated(query, angles, leading, head_size, is_neox), _rotated(key, angles, leading, head_size, is_neox)


@rotary_embedding.register_fake
def rotary_embedding_fake(
    positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int, is_neox: bool = True
) -> tuple[Tensor, Tensor]:
    check_rotary(positions, query, key, cos_sin_cache, head_size)
    return kernels.new_like(query), kernels.new_like(key)


def _readable(
    positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int, is_neox: bool = True
) -> bool:
    return positions.dtype in (torch.int32, torch.int64) and kernels.takes(query, key, cos_sin_cache)


@rotary_embedding.register_impl("cpp", supported=kernels.available(), supports_args=_readable, sources=kernels.SOURCES)
def rotary_embedding_cpp(
    positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int, is_neox: bool = True
) -> tuple[Tensor, Tensor]:
    """One pass over query and key."""
    check_rotary(positions, query, key, cos_sin_cache, head_size)
    return kernels.ops.rotary_embedding.default(positions, query, key, cos_sin_cache, head_size, is_neox)


@rotary_embedding.register_input_generator(
    hidden=(66,), rotary=(66, 18), is_neox=(True, False), cache=("own", "float32"), layout=_LAYOUTS
)
def rotary_embedding_inputs(
    dtype: torch.dtype, num_tokens: int, hidden: int, rotary: int, is_neox: bool, cache: str, layout: str
) -> tuple[Any, ...]:
    cos = 2 * torch.rand(128, rotary // 2) - 1
    sin = (1 - cos * cos).sqrt()
    cos_sin_cache = torch.cat((cos, sin), dim=-1).to(torch.float32 if cache == "float32" else dtype)
    positions = torch.randint(0, 128, (num_tokens,), dtype=torch.int32 if layout == "heads" else torch.int64)
    query = torch.randn(num_tokens, 4 * hidden, dtype=dtype)
    key = torch.randn(num_tokens, 2 * hidden, dtype=dtype)
    if layout == "split":
        query, key, _ = torch.randn(num_tokens, 8 * hidden, dtype=dtype).split([4 * hidden, 2 * hidden, 2 * hidden], 1)
    if layout == "heads":
        query, key = query.view(num_tokens, 4, hidden), torch.randn(2, num_tokens, hidden, dtype=dtype).transpose(0, 1)
    return positions, query, key, cos_sin_cache, hidden, is_neox


def _rotated(x: Tensor, angles: Tensor, leading: int, head_size: int, is_neox: bool) -> Tensor:
    cos, sin = _pairs(angles, is_neox=True)
    heads = x.reshape(angles.shape[0], math.prod(x.shape[leading:]) // head_size, head_size)
    rotary = angles.shape[-1]
    first, second = _pairs(heads[..., :rotary].to(torch.float32), is_neox)
    turned = (first * cos - second * sin, second * cos + first * sin)
    together = (torch.cat(turned, dim=-1) if is_neox else torch.stack(turned, dim=-1).flatten(-2)).to(x.dtype)
    if rotary != head_size:
        together = torch.cat((together, heads[..., rotary:]), dim=-1)
    return together.reshape(x.shape)


def _pairs(x: Tensor, is_neox: bool) -> tuple[Tensor, Tensor]:
    if is_neox:
        half = x.shape[-1] // 2
        return x[..., :half], x[..., half:]
    return x[..., ::2], x[..., 1::2]


def check_rotary(positions: Tensor, query: Tensor, key: Tensor, cos_sin_cache: Tensor, head_size: int) -> None:
    """Refuse sizes that do not fit together, and dtypes of query and key that differ."""
    rotary = cos_sin_cache.shape[-1]
    if cos_sin_cache.dim() != 2 or rotary % 2 or rotary > head_size:
        raise OpError(
            f"op 'rotary_embedding' cannot use a cos_sin_cache of shape {list(cos_sin_cache.shape)}",
            f"heads have {head_size} entries",
            "give [positions, rotary], rotary even and no larger than a head",
        )
    for name, x in (("query", query), ("key", key)):
        tokens, head = x.shape[: positions.dim()], x.shape[positions.dim() :]
        if tokens != positions.shape or not head or head[-1] % head_size:
            raise OpError(
                f"op 'rotary_embedding' cannot rotate a {name} of shape {list(x.shape)}",
                f"positions have the shape {list(positions.shape)}, heads {head_size} entries",
                "give one position a token, and whole heads",
            )
    if query.dtype != key.dtype:
        raise OpError(
            f"op 'rotary_embedding' cannot rotate a query of {query.dtype} with a key of {key.dtype}",
            cure="give both the same dtype",
        )
