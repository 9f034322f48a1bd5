"""Patterns as a user of torch writes them: functions that are traced, with checks of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cutaway import torch_internals
from cutaway.explain.patterns.sources import Pattern, patterns_in


def wide_enough(match: Any) -> bool:
    value = match.kwargs["x"].meta["val"]
    return value.dtype == torch.float32 and value.shape[-1] >= 64


def two_dimensional(match: Any) -> bool:
    value = match.kwargs["x"].meta["val"]
    if value.dtype == torch.int8 or value.dim() != 2:
        return False
    return value.device.type == "cpu"


def tanh_and_add() -> list[Pattern]:
    def search(x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(x) * 2.0 + y

    return _registered(search, [torch.empty(4, 64), torch.empty(4, 64)], wide_enough)


def cast_and_scale() -> list[Pattern]:
    def search(x: Tensor, y: Tensor) -> Tensor:
        return x.to(torch.bfloat16) * y

    return _registered(search, [torch.empty(4, 64), torch.empty(4, 64, dtype=torch.bfloat16)], two_dimensional)


def _registered(search: Any, inputs: list[Tensor], check: Any) -> list[Pattern]:
    matcher = torch_internals.pattern_matcher()
    patterns = matcher.PatternMatcherPass("users")
    mode = torch_internals.no_tracing_fake_mode()
    with mode:
        fakes = [torch.empty(value.shape, dtype=value.dtype) for value in inputs]
        matcher.register_replacement(search, search, fakes, matcher.fwd_only, patterns, extra_check=check)
    return list(patterns_in([patterns]))


def relu_of_norm() -> Any:
    """An expression, written down: any operator of ours that normalises, then relu."""
    matcher = torch_internals.pattern_matcher()
    norm = matcher.CallFunction(torch.ops.cutaway_ir.rms_norm.default, *map(matcher.KeywordArg, "xwe"))
    return matcher.CallFunction(torch.ops.aten.relu.default, norm)
