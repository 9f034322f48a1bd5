"""Values of nodes: taken apart, kept as they are now, described."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.record.layers.words import short_dtype
from cutaway.record.values import copied
from cutaway.replay.job import Value
from cutaway.replay.unwritten import is_unwritten


def leaves(value: Any) -> list[Any]:
    """Everything in a value that is neither a container nor None."""
    return [leaf for _, leaf in torch_internals.named_leaves(value) if leaf is not None]


def outputs(value: Any) -> list[Any]:
    """All that a graph returns, flattened; None has its place."""
    return [leaf for _, leaf in torch_internals.named_leaves(value)]


def copy(value: Any) -> Any:
    """A value as it is now: a tensor is copied, with its strides; anything else is itself."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return value
    with torch_internals.outside_transforms():
        return copied(torch_internals.unwrapped(value))


def size_of(values: list[Any]) -> int:
    """How many bytes of memory they lie in."""
    tensors = [value for value in values if isinstance(value, torch.Tensor) and value.layout is torch.strided]
    return sum(value.untyped_storage().nbytes() for value in tensors)


def content_of(values: list[Any]) -> bytes | None:
    """A digest of one tensor's type and elements; None for anything else, and where all elements are the same."""
    value = values[0] if len(values) == 1 else None
    if not isinstance(value, torch.Tensor) or value.numel() < 2 or value.layout is not torch.strided:
        return None
    content = torch_internals.tensor_bytes(value)
    width = value.element_size()
    if content is None or content == content[:width] * value.numel():
        return None
    return blake2b(content, digest_size=16, key=type_text(value).encode()[:64]).digest()


def elements(value: torch.Tensor) -> torch.Tensor:
    """A tensor's elements in a row."""
    return value.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)


def type_text(value: Any) -> str:
    """`f32[16, 256]`; for what is no tensor the name of its type."""
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{short_dtype(str(value.dtype).removeprefix('torch.'))}[{', '.join(map(str, value.shape))}]"


def describe(value: Any) -> Value:
    """A result, as it is shown."""
    if not isinstance(value, torch.Tensor):
        return Value(text=repr(value))
    described = Value(type=type_text(value), stride=list(value.stride()) if value.layout is torch.strided else [])
    content = torch_internals.tensor_bytes(value)
    if content is None:
        return described
    flat = elements(torch.view_as_real(value) if value.is_complex() else value)
    total = float(flat.to(torch.float64).sum()) if flat.numel() else 0.0
    described.total = total if math.isfinite(total) else None
    described.digest = blake2b(content, digest_size=16).hexdigest()
    described.unwritten = int(is_unwritten(flat).sum()) // (2 if value.is_complex() else 1)
    return described
