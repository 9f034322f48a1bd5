"""What a cache that was filled from other graphs puts in is, node for node, what tracing the call anew makes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from compiler.passes.lowering import ir_ops as ops
from compiler.passes.lowering.alike import assert_alike, by_pattern_matcher, lowered, traced_anew
from compiler.passes.lowering.graphs import Asked, Called, Input, Program, Result, Shape, Size, Symbol, build
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cutaway import torch_internals
from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.ops import set_priority

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@st.composite
def symbols(draw: st.DrawFn) -> tuple[Symbol, ...]:
    hints = draw(st.lists(st.integers(5, 30), min_size=0, max_size=3, unique=True))
    return tuple(
        Symbol(hint, draw(st.integers(2, 4)), draw(st.none() | st.integers(40, 4096)), draw(st.booleans()))
        for hint in hints
    )


@st.composite
def size(draw: st.DrawFn, number: int) -> Size:
    symbol = draw(st.none() | st.integers(0, number - 1)) if number else None
    if symbol is None:
        return Size(draw(st.integers(1, 6)))
    return Size(draw(st.integers(0, 3)), symbol, draw(st.integers(1, 2)))


@st.composite
def shape(draw: st.DrawFn, number: int, last: int | None = None, rank: int | None = None) -> Shape:
    rank = draw(st.integers(1, 3)) if rank is None else rank
    made = tuple(draw(size(number)) for _ in range(rank))
    if last is not None:
        made = (*made[:-1], Size(last))
    order = draw(st.none() | st.permutations(range(rank)).map(tuple))
    return Shape(made, draw(st.sampled_from(FLOATS)), order, draw(st.integers(1, 2)), draw(st.sampled_from((0, 0, 8))))


NUMBERS = st.sampled_from((0.0, -0.0, 1.0, 2.0, 0.5, float("inf")))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """One or two calls, the second perhaps of what the first returned."""
    named = draw(symbols())
    count = len(named)
    last = draw(st.sampled_from((2, 4, 8)))
    first = draw(shape(count, last))
    inputs: list[Shape] = [first, Shape((Size(last),), draw(st.sampled_from(FLOATS)))]
    other = draw(st.sampled_from(("same", "like", "view")))
    if other == "like":
        inputs.append(first)
    elif other == "view":
        inputs.append(Shape(first.sizes, first.dtype, first.order, first.gap, first.offset, base=0))
    device = draw(st.sampled_from(("cpu", "cpu", "cuda:1")))
    inputs = [dataclasses.replace(shape, device=device) for shape in inputs]
    second = Input(0) if other == "same" else Input(2)
    x, weight = Input(0), Input(1)
    dtype = st.sampled_from((torch.int32, torch.float64, torch.bool))
    number = draw(st.integers(0, 5) if not count else st.integers(0, 5) | st.builds(Asked, st.integers(0, count - 1)))
    calls = {
        "norm": Called(
            ops.lowering_norm,
            (x, draw(st.sampled_from((weight, None))), draw(NUMBERS), draw(st.sampled_from((None, 1)))),
        ),
        "gated": Called(ops.lowering_gated, (x, draw(NUMBERS), draw(st.booleans()))),
        "joined": Called(
            ops.lowering_joined, ([x, second, x][: draw(st.integers(1, 3))], draw(st.sampled_from((0, -1))))
        ),
        "some": Called(ops.lowering_some, (x, [second, None], [draw(NUMBERS), draw(NUMBERS)])),
        "two": Called(ops.lowering_two, (x, second)),
        "given_back": Called(ops.lowering_given_back, (x,)),
        "shaped": Called(ops.lowering_shaped, (x, number)),
        "cast": Called(ops.lowering_cast, (x, draw(dtype), draw(st.sampled_from(("up", "down"))))),
        "made": Called(ops.lowering_made, (x, torch.device(device))),
        "halved": Called(ops.lowering_halved, (x, second, draw(NUMBERS))),
        "nested": Called(ops.lowering_nested, (x, weight)),
    }
    names = draw(st.lists(st.sampled_from(sorted(calls)), min_size=1, max_size=3))
    chosen = [calls[name] for name in names]
    if draw(st.booleans()):
        part: int | None = 0 if names[0] in ("two", "given_back", "halved") else None
        chosen.append(Called(ops.lowering_gated, (Result(0, part), 0.5)))
    relations = ((1, 0),) if count > 1 and draw(st.booleans()) else ()
    checks = ((0, 4),) if count and draw(st.booleans()) else ()
    return Program(named, tuple(inputs), tuple(chosen), relations, checks)


def made(program: Program, names: str, skipped: int = 0) -> Any:
    """The graph; programs that make no sense (sizes that do not fit) are left out."""
    try:
        return build(program, names, skipped)
    except (RuntimeError, TypeError, ValueError, IndexError):
        assume(False)


PRIORITY = {"lowering_halved": ["inplace"], "lowering_given_back": ["careless"]}


@pytest.mark.parametrize("priority", [{}, PRIORITY], ids=["native", "others"])
@given(program=programs())
@settings(suppress_health_check=list(HealthCheck))
def test_a_warm_cache_puts_in_what_tracing_would(program: Program, priority: dict[str, list[str]]) -> None:
    cache = ReplacementCache()
    with set_priority(priority):
        expected = traced_anew(made(program, "b").gm)
        lowered(made(program, "a", skipped=3).gm, cache)
        misses = cache.misses
        graph = made(program, "b")
        known = torch_internals.state_of_shapes(graph.mode.shape_env)
        found = lowered(graph.gm, cache)
    assert cache.misses == misses == len(cache)
    assert torch_internals.state_of_shapes(graph.mode.shape_env) == known
    assert_alike(found, expected)


@given(program=programs())
@settings(suppress_health_check=list(HealthCheck))
def test_it_is_what_the_pattern_matcher_puts_in(program: Program) -> None:
    program = dataclasses.replace(program, calls=program.calls[:1])
    assume(program.calls[0].op is not ops.lowering_nested)  # there, ops are left that an implementation calls
    cache = ReplacementCache()
    lowered(made(program, "a", skipped=3).gm, cache)
    found = lowered(made(program, "b").gm, cache)
    theirs = by_pattern_matcher(made(program, "b"))
    # It drops seq_nr, and its notes are others.
    assert_alike(found, theirs, without=("from_node", "seq_nr", "mutation_region_id"))
