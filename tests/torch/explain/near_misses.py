"""Small graphs that a pattern matches, or nearly: traced, recorded as a node table, and built anew out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch._inductor.decomposition import select_decomp_table
from torch.fx.experimental.proxy_tensor import make_fx

from cutaway.explain.patterns.child import attempts
from cutaway.explain.patterns.job import Attempt
from cutaway.explain.patterns.rebuild import Rebuilt
from cutaway.explain.patterns.sources import Source, find_source
from cutaway.record.nodes import TableBuilder


def rebuilt(function: Callable[..., Any], *inputs: torch.Tensor) -> fx.Graph:
    """A function's graph, as it comes out of a dump."""
    gm = make_fx(function, decomposition_table=select_decomp_table(), tracing_mode="fake")(*inputs)
    gm.graph.eliminate_dead_code()
    return Rebuilt(TableBuilder().build(gm)).gm.graph


def held(pattern: str | Source, function: Callable[..., Any], *inputs: torch.Tensor) -> list[Attempt]:
    """What becomes of patterns in a function's graph; what got farthest first."""
    source = find_source(pattern, None) if isinstance(pattern, str) else pattern
    found = attempts(source.patterns, rebuilt(function, *inputs))
    return sorted(found, key=lambda each: (-each.matched, -each.got / each.of, len(each.reasons)))


def why_not(pattern: str | Source, function: Callable[..., Any], *inputs: torch.Tensor) -> tuple[str, str]:
    """Kind and text of the first reason of the attempt that got farthest; that none matched is asserted."""
    best = held(pattern, function, *inputs)[0]
    assert not best.matched
    return best.reasons[0].kind, best.reasons[0].text
