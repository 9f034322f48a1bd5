"""How fast each provider of each op of the library is beside the native body, in eager mode.

Providers take turns, and each turn calls one as often as a millisecond or so holds; what is called is the
implementation, without the dispatch before it, which is the same for all. An in-place provider is measured twice: as
it is called where the activations may be reused, and on copies of them. One thread, unless more are asked for: both
sides share out work among torch's own.

    python benchmarks/ops.py --op rms_norm silu_and_mul --dtype bfloat16 --tokens 1 64 --hidden 4096
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import _measure
import torch

import cutaway.ops.library  # noqa: F401  (registers the ops)
from cutaway.ops import IrOp, registry

TURN = 1e-3
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.bfloat16, torch.float32, torch.float16)}
HEAD = 128
"""Entries of a head: `hidden` is the width of the query of the rotary embedding, which has half as many keys."""


def main() -> None:
    arguments = options().parse_args()
    torch.set_num_threads(arguments.threads)
    turns = 3 if arguments.quick else arguments.turns
    found: list[dict[str, Any]] = []
    with torch.inference_mode():
        for name in arguments.op:
            for dtype in arguments.dtype:
                for tokens in arguments.tokens:
                    for hidden in arguments.hidden:
                        us = measured(registry[name], DTYPES[dtype], tokens, hidden, turns)
                        found.append({"op": name, "dtype": dtype, "tokens": tokens, "hidden": hidden, "us": us})
    tables = [table_of(name, [row for row in found if row["op"] == name]) for name in arguments.op]
    _measure.report(arguments.json, {"threads": arguments.threads, "ops": found}, __doc__ or "", tables)


def options() -> argparse.ArgumentParser:
    parser = _measure.parser(__doc__)
    parser.add_argument("--op", nargs="+", default=sorted(registry), choices=sorted(registry), metavar="NAME")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"], choices=DTYPES, metavar="NAME")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 64, 1024], metavar="N")
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 4096], metavar="N")
    parser.add_argument("--turns", type=int, default=21, metavar="N", help="turns of each provider")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of torch")
    return parser


def measured(op: IrOp, dtype: torch.dtype, tokens: int, hidden: int, turns: int) -> dict[str, list[float]]:
    """Microseconds of one call of each provider, in each turn."""
    calls = dict(calls_of(op, arguments_of(op, dtype, tokens, hidden)))
    number = {name: 1 + int(TURN / min(timeit.repeat(call, number=1, repeat=3))) for name, call in calls.items()}
    us: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        names = list(calls)
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            us[name].append(1e6 * timeit.timeit(calls[name], number=number[name]) / number[name])
    return us


def arguments_of(op: IrOp, dtype: torch.dtype, tokens: int, hidden: int) -> tuple[Any, ...]:
    """Random arguments of that size."""
    if op.name != "rotary_embedding":
        return op.generate_inputs(dtype=dtype, num_tokens=tokens, hidden=hidden)
    cache = torch.randn(4096, HEAD).to(dtype)
    query, key = torch.randn(tokens, hidden).to(dtype), torch.randn(tokens, hidden // 2).to(dtype)
    return torch.arange(tokens), query, key, cache, HEAD, True


def calls_of(op: IrOp, args: tuple[Any, ...]) -> Iterator[tuple[str, Callable[[], Any]]]:
    for provider in op.supported_providers():
        impl = op.impls[provider]
        if not impl.supports_args(*args):
            continue
        yield provider, lambda call=impl.functional: call(*args)
        if impl.inplace:
            copies = [value.clone() if index in op.activation_indices else value for index, value in enumerate(args)]
            yield f"{provider}, in place", lambda call=impl.function, copies=copies: call(*copies)


def table_of(name: str, found: list[dict[str, Any]]) -> str:
    """One op: a row for each size, microseconds of native, and how many times as fast each provider is."""
    others = list(dict.fromkeys(provider for row in found for provider in row["us"] if provider != "native"))
    rows = [[f"{row['dtype']} {row['tokens']} × {row['hidden']}", *cells_of(row["us"], others)] for row in found]
    return _measure.table([name, "native, us", *(f"{other}, times as fast" for other in others)], rows)


def cells_of(us: dict[str, list[float]], others: list[str]) -> list[str]:
    native = us["native"]
    ratios = [
        f"{median(one / other for one, other in zip(native, us[name], strict=True)):.2f}" if name in us else ""
        for name in others
    ]
    return [f"{median(native):.1f}", *ratios]


if __name__ == "__main__":
    main()
