"""Which calls share a replacement: those that tracing cannot tell apart, and no others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from compiler.passes.lowering import ir_ops as ops
from compiler.passes.lowering.alike import assert_alike, lowered, traced_anew
from compiler.passes.lowering.graphs import Asked, Called, Input, Program, Shape, Size, Symbol, build
from torch._inductor.decomposition import select_decomp_table

from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.ops import IrOp

S = Size(0, symbol=0)
FLAT = Shape((Size(6), Size(4)))
ROWS = Shape((S, Size(4)))
WEIGHT = Shape((Size(4),))
BATCH = Symbol(12, 2, 64)


def of(op: IrOp, *args: Any, inputs: tuple[Shape, ...] = (FLAT, WEIGHT), **facts: Any) -> Program:
    facts.setdefault("symbols", (BATCH,))
    return Program(inputs=inputs, calls=(Called(op, args),), **facts)


def norm(x: Shape = FLAT, weight: Shape = WEIGHT, **facts: Any) -> Program:
    return of(ops.lowering_norm, Input(0), Input(1), 1e-5, inputs=(x, weight), **facts)


def within(offset: int) -> Program:
    """A part of a larger tensor."""
    part = replace(FLAT, base=0, offset=offset)
    return of(ops.lowering_norm, Input(1), None, 1e-5, inputs=(Shape((Size(9), Size(4))), part))


def gated(scale: Any = 1.0, negated: Any = False) -> Program:
    return of(ops.lowering_gated, Input(0), scale, negated)


def two(x: Input, y: Input, *inputs: Shape) -> Program:
    return of(ops.lowering_two, x, y, inputs=inputs)


def joined(*numbers: int, dim: int = 0) -> Program:
    return of(ops.lowering_joined, [Input(number) for number in numbers], dim, inputs=(FLAT, FLAT, FLAT))


def some(others: list[Any], scales: list[Any]) -> Program:
    return of(ops.lowering_some, Input(0), others, scales, inputs=(FLAT, FLAT))


def cast(dtype: torch.dtype = torch.int32, mode: str = "up") -> Program:
    return of(ops.lowering_cast, Input(0), dtype, mode)


def shaped(size: Any, x: Shape = ROWS, **facts: Any) -> Program:
    return of(ops.lowering_shaped, Input(0), size, inputs=(x,), **facts)


def on(device: str, shape: Shape) -> Shape:
    return replace(shape, device=device)


def rows(symbol: Symbol) -> Program:
    return norm(ROWS, symbols=(symbol,))


def square(first: Size, second: Size, *symbols: Symbol, **facts: Any) -> Program:
    return of(ops.lowering_two, Input(0), Input(0), inputs=(Shape((first, second)),), symbols=symbols, **facts)


T = Size(0, symbol=1)
MORE = Symbol(13, 2, 64)
APART: dict[str, tuple[Program, Program]] = {
    "one size": (norm(), norm(Shape((Size(7), Size(4))))),
    "one stride": (norm(), norm(replace(FLAT, gap=2))),
    "the order in memory": (norm(), norm(replace(FLAT, order=(1, 0)))),
    "the offset": (within(4), within(8)),
    "how many bytes the memory has": (
        of(ops.lowering_norm, Input(1), None, 1e-5, inputs=(FLAT, replace(FLAT, base=0))),
        of(ops.lowering_norm, Input(1), None, 1e-5, inputs=(Shape((Size(9), Size(4))), replace(FLAT, base=0))),
    ),
    "one dtype": (norm(), norm(replace(FLAT, dtype=torch.bfloat16))),
    "one dtype of the same size": (
        norm(replace(FLAT, dtype=torch.float16)),
        norm(replace(FLAT, dtype=torch.bfloat16)),
    ),
    "the dtype of the weight": (norm(), norm(weight=replace(WEIGHT, dtype=torch.bfloat16))),
    "the device": (norm(), norm(on("cuda:0", FLAT), on("cuda:0", WEIGHT))),
    "which device of a kind": (
        norm(on("cuda:1", FLAT), on("cuda:1", WEIGHT)),
        norm(on("cuda:0", FLAT), on("cuda:0", WEIGHT)),
    ),
    "no weight": (norm(), of(ops.lowering_norm, Input(0), None, 1e-5)),
    "one constant": (norm(), of(ops.lowering_norm, Input(0), Input(1), 1e-6)),
    "an int for a float": (gated(1.0), gated(1)),
    "a bool for an int": (gated(1), gated(True)),
    "the sign of zero": (gated(0.0), gated(-0.0)),
    "a number for none": (
        of(ops.lowering_norm, Input(0), None, 1e-5, None),
        of(ops.lowering_norm, Input(0), None, 1e-5, 1),
    ),
    "a dtype that is an argument": (cast(torch.int32), cast(torch.int64)),
    "a text": (cast(mode="up"), cast(mode="down")),
    "one tensor twice": (two(Input(0), Input(0), FLAT, FLAT), two(Input(0), Input(1), FLAT, FLAT)),
    "two that share memory": (
        two(Input(0), Input(1), FLAT, FLAT),
        two(Input(0), Input(1), FLAT, replace(FLAT, base=0)),
    ),
    "one tensor twice, or what lies just where it does": (
        two(Input(0), Input(0), FLAT, replace(FLAT, base=0)),
        two(Input(0), Input(1), FLAT, replace(FLAT, base=0)),
    ),
    "the length of a list": (joined(0, 1), joined(0, 1, 2)),
    "which elements of a list are one": (joined(0, 1, 0), joined(0, 1, 1)),
    "a gap in a list": (some([Input(1), None], [1.0, 1.0]), some([None, Input(1)], [1.0, 1.0])),
    "a number in a list": (some([None, None], [1.0, 2.0]), some([None, None], [1.0, 3.0])),
    "the type of a number in a list": (some([None], [1.0]), some([None], [1])),
    "symbolic or not": (norm(ROWS), norm(Shape((Size(12), Size(4))))),
    "a symbol for its example": (shaped(Asked(0)), shaped(12)),
    "twice the symbol": (norm(ROWS), norm(Shape((Size(0, 0, 2), Size(4))))),
    "the symbol and three": (norm(ROWS), norm(Shape((Size(3, 0), Size(4))))),
    "one symbol twice or two": (square(S, S, BATCH, MORE), square(S, T, BATCH, MORE)),
    "which of two symbols is given": (
        of(ops.lowering_shaped, Input(0), Asked(0), inputs=(Shape((S, T)),), symbols=(BATCH, MORE)),
        of(ops.lowering_shaped, Input(0), Asked(1), inputs=(Shape((S, T)),), symbols=(BATCH, MORE)),
    ),
    "the least value of a symbol": (rows(BATCH), rows(replace(BATCH, low=4))),
    "the greatest value of a symbol": (rows(BATCH), rows(replace(BATCH, high=128))),
    "the example's value": (rows(BATCH), rows(replace(BATCH, hint=14))),
    "whether the example is known": (rows(BATCH), rows(replace(BATCH, unbacked=True))),
    "a relation between symbols": (
        square(S, T, Symbol(24), Symbol(12)),
        square(S, T, Symbol(24), Symbol(12), relations=((0, 1),)),
    ),
    "which symbol divides the other": (
        square(S, T, Symbol(12), Symbol(12), relations=((0, 1),)),
        square(S, T, Symbol(12), Symbol(12), relations=((1, 0),)),
    ),
    "a relation to a symbol that no argument has": (
        square(S, S, Symbol(24), Symbol(12)),
        square(S, S, Symbol(24), Symbol(12), relations=((0, 1),)),
    ),
    "a relation at one remove": (
        square(S, S, Symbol(24), Symbol(12), relations=((0, 1),)),
        square(S, S, Symbol(24), Symbol(12), relations=((0, 1),), checks=((1, 5),)),
    ),
    "a relation that says nothing of one symbol alone": (
        square(S, T, Symbol(24), Symbol(12)),
        square(S, T, Symbol(24), Symbol(12), sums=((0, 1, 50),)),
    ),
    "a relation that is left for run time": (
        square(S, T, replace(BATCH, unbacked=True), replace(MORE, unbacked=True)),
        square(S, T, replace(BATCH, unbacked=True), replace(MORE, unbacked=True), sums=((0, 1, 50),)),
    ),
    "a lower bound that was checked": (rows(BATCH), norm(ROWS, checks=((0, 5),))),
}


@pytest.mark.parametrize("name", APART)
def test_calls_that_differ_in_one_thing_share_nothing(name: str) -> None:
    cache = ReplacementCache()
    for misses, program in enumerate(APART[name], 1):
        found = lowered(build(program).gm, cache)
        assert cache.misses == misses, name
        assert_alike(found, traced_anew(build(program).gm))
    assert cache.hits == 0
    for program in APART[name]:
        assert_alike(lowered(build(program).gm, cache), traced_anew(build(program).gm))
    assert (cache.hits, cache.misses, cache.uncached) == (2, 2, 0)


TOGETHER: dict[str, tuple[Program, Program]] = {
    "the same call": (norm(), norm()),
    "other inputs beside them": (norm(), replace(norm(), inputs=(FLAT, WEIGHT, ROWS))),
    "another symbol of the same kind": (
        norm(ROWS),
        norm(Shape((T, Size(4))), symbols=(replace(BATCH, hint=30), BATCH)),
    ),
    "symbols in another order": (
        square(S, T, BATCH, MORE),
        square(T, S, MORE, BATCH),
    ),
    "facts of symbols that have nothing to do with it": (
        rows(BATCH),
        norm(ROWS, symbols=(BATCH, MORE, Symbol(26)), relations=((2, 1),), checks=((1, 5),)),
    ),
    "facts that were learnt in another order": (
        square(S, T, Symbol(24), Symbol(12), relations=((0, 1),), checks=((1, 5), (0, 7))),
        square(S, T, Symbol(24), Symbol(12), relations=((0, 1),), checks=((0, 7), (1, 5))),
    ),
    "what is not a number": (gated(float("nan")), gated(float("nan"))),
    "a default that is written out": (of(ops.lowering_gated, Input(0)), gated(1.0, False)),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_calls_that_tracing_cannot_tell_apart_share_a_replacement(name: str) -> None:
    cache = ReplacementCache()
    first, second = TOGETHER[name]
    lowered(build(first, "first").gm, cache)
    found = lowered(build(second, "second", skipped=2).gm, cache)
    assert (cache.hits, cache.misses, cache.uncached) == (1, 1, 0)
    assert_alike(found, traced_anew(build(second, "second", skipped=2).gm))


@pytest.mark.parametrize("setting", ["specialize_zero_one", "prefer_deferred_runtime_asserts_over_guards"])
def test_how_torch_reasons_about_sizes_is_told_apart(setting: str) -> None:
    cache = ReplacementCache()
    for number, value in enumerate((False, True, False, True), 1):
        found = lowered(build(rows(BATCH), **{setting: value}).gm, cache)
        assert_alike(found, traced_anew(build(rows(BATCH), **{setting: value}).gm))
        assert cache.misses == min(number, 2)


def test_tensors_that_were_made_for_inference_alone_are_apart() -> None:
    cache = ReplacementCache()
    with torch.inference_mode():
        graphs = [build(gated()).gm for _ in range(2)]
    lowered(build(gated()).gm, cache)
    assert_alike(lowered(graphs[0], cache), traced_anew(graphs[1]))
    assert (cache.hits, cache.misses) == (0, 2)


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


AMBIENT: dict[str, Callable[[], Any]] = {
    "default dtype": default_dtype,
    "deterministic algorithms": deterministic,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "grad mode": torch.enable_grad,
    "inference mode": torch.inference_mode,
    "a setting of Inductor": lambda: torch._inductor.config.patch(fallback_random=True),
    "a setting of symbolic sizes": lambda: torch.fx.experimental._config.patch(backed_size_oblivious=True),
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", AMBIENT)
def test_what_tracing_depends_on_besides_is_told_apart(name: str) -> None:
    cache = ReplacementCache()
    programs = (of(ops.lowering_made, Input(0), torch.device("cpu")), gated())
    with torch.no_grad():
        for program in programs:
            lowered(build(program).gm, cache)
        for program in programs:
            graph, again = build(program), build(program)
            with AMBIENT[name]():
                found, expected = lowered(graph.gm, cache), traced_anew(again.gm)
            assert_alike(found, expected)
        assert (cache.hits, cache.misses) == (0, 4)
        for program in programs:
            lowered(build(program).gm, cache)
    assert (cache.hits, cache.misses) == (2, 4)


@pytest.mark.parametrize("before", [False, True], ids=["put in", "taken out"])
def test_so_is_how_an_operator_is_taken_apart(before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, op, table = ReplacementCache(), torch.ops.aten.sigmoid.default, select_decomp_table()

    def apart(x: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + torch.exp(-x))

    if before:
        monkeypatch.setitem(table, op, apart)
    calls = [len(lowered(build(program).gm, cache).graph.nodes) for program in (gated(), norm())]
    if before:
        monkeypatch.delitem(table, op)
    else:
        monkeypatch.setitem(table, op, apart)
    again = [len(lowered(build(program).gm, cache).graph.nodes) for program in (gated(), norm())]
    assert (again[0] > calls[0], again[1]) == (not before, calls[1])
    assert (cache.hits, cache.misses, len(cache)) == (1, 3, 2)


class Doubling(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found * 2 if getattr(func, "__name__", "") == "sigmoid" else found


def test_nothing_is_kept_while_a_mode_is_on_that_may_do_anything() -> None:
    cache = ReplacementCache()
    graph = build(gated())
    with Doubling():
        found = lowered(graph.gm, cache)
    assert (cache.uncached, len(cache)) == (1, 0)
    assert len(found.graph.nodes) == len(lowered(build(gated()).gm, cache).graph.nodes) + 1
