"""Memory that nobody has written to: filled with a mark, so that two runs agree on it and it is not compared.

What `empty` returns is whatever lay there. Floats are filled with a NaN of bits that no computation makes; moves and
views keep them, so that a result shows which of its elements were never written. Other numbers become zero: an index
out of such memory must not lead out of a tensor.
"""

from __future__ import annotations

from typing import Any

import torch

from cutaway import torch_internals

_MARKS: dict[torch.dtype, tuple[torch.dtype, int]] = {
    torch.float64: (torch.int64, 0x7FF8_CAFE_CAFE_CAFE),
    torch.float32: (torch.int32, 0x7FC0_CAFE),
    torch.float16: (torch.int16, 0x7ECA),
    torch.bfloat16: (torch.int16, 0x7FCA),
}
_MAKERS = frozenset(
    ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "empty_quantized")
)


def leaves_memory_unwritten(function: Any) -> bool:
    """Whether what this returns is memory with no contents of its own."""
    overload = torch_internals.op_overload(function)
    name = overload.name().partition("::")[2].partition(".")[0] if overload is not None else None
    return (name or getattr(function, "__name__", "")) in _MAKERS


def mark(value: torch.Tensor) -> None:
    """Fill a tensor with the mark of its dtype."""
    if value.is_complex():
        value = torch.view_as_real(value)
    if value.dtype in _MARKS:
        bits, pattern = _MARKS[value.dtype]
        value.view(bits).fill_(pattern)
    elif not value.is_quantized:
        value.zero_()


def is_unwritten(value: torch.Tensor) -> torch.Tensor:
    """Which elements of a tensor still bear the mark."""
    if value.dtype not in _MARKS:
        return torch.zeros_like(value, dtype=torch.bool)
    bits, pattern = _MARKS[value.dtype]
    return value.view(bits) == pattern
