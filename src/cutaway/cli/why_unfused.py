"""`cutaway why unfused`: memory-bound operators that stayed apart, and what fusing them would save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import BAD_USE, FINDING, Styled, complain, write_json, write_lines
from cutaway.dump import Dump, load
from cutaway.dump.select import unknown
from cutaway.errors import CutawayError, SelectorError, UsageError
from cutaway.explain.patterns import Chain, Unfused, find_unfused
from cutaway.record.layers.words import short_bytes

_SHOWN = 12
_TIMES = "\N{MULTIPLICATION SIGN}"
Selector = Annotated[
    str | None,
    typer.Argument(
        metavar="SELECTOR", help="Only last graphs whose selector holds this, such as piece_02 or range_8_8."
    ),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", help="Count bytes for this size. Default: what it was captured with."),
]
Everything = Annotated[bool, typer.Option("--all", help="Show every chain.")]


def unfused(
    path: DumpPath,
    selector: Selector = None,
    batch: Batch = None,
    everything: Everything = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """Chains of memory-bound operators that stayed in kernels of their own, and the bytes that one kernel would save.

    For those who look for fusions to write. Counted are values that one kernel writes to memory and another reads,
    where nothing stands between the two (no product of matrices, attention or communication that needs the one and is
    needed by the other). Layers that are alike are shown once. Whether a kernel could be written, and would be faster,
    is not said: only what it would not have to move. Only what was recorded is read.

    Exits 1 when there are such chains.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"--batch is {batch}", "it stands for a size", "give 1 or more")
    dump = load(path, run, rank)
    found = find_unfused(dump, selector, batch)
    if not found.graphs and not found.unknown:
        raise _no_such(dump, selector)
    if not found.graphs:
        why = "no kernels were recorded: a cache served them, or a filter left them out"
        complain(f"no last graph can be looked at: {why}.")
        return BAD_USE
    if as_json:
        write_json(_json(found))
    else:
        write_lines(_lines(found, everything))
    return FINDING if found.chains else 0


def _no_such(dump: Dump, selector: str | None) -> CutawayError:
    """The error where there is no last graph, or none that a selector names."""
    last = [each.selector for each in dump.snapshots.values() if each.stage == "post_grad"]
    if selector is not None and last:
        return unknown(selector, last, f"last graphs are {', '.join(last[:4])}{', …' if last[4:] else ''}")
    return SelectorError("there is no last graph in this dump", "nothing was compiled, or a filter left it out")


def _json(found: Unfused) -> dict[str, Any]:
    chains = [
        {**asdict(chain), "where": chain.where, "count": chain.count, "ranges": chain.ranges} for chain in found.chains
    ]
    return {"chains": chains, "blocked": found.blocked, "graphs": found.graphs, "unknown": found.unknown}


def _lines(found: Unfused, everything: bool) -> Iterator[list[Styled]]:
    graphs = f"{len(found.graphs)} last graph{'s' if len(found.graphs) > 1 else ''}"
    if not found.chains:
        yield [("nothing stayed apart", "bold green"), (f" that could be one kernel, in {graphs}", "")]
    else:
        total = sum(chain.saved * chain.count for chain in found.chains)
        chains = f"{len(found.chains)} chain{'s' if len(found.chains) > 1 else ''}"
        yield [
            (f"{chains} of memory-bound operators stayed apart", "bold"),
            (f" in {graphs}: {short_bytes(total)}", ""),
        ]
    for chain in found.chains if everything else found.chains[:_SHOWN]:
        yield from _chain(chain)
    if len(found.chains) > _SHOWN and not everything:
        yield [(f"  and {len(found.chains) - _SHOWN} more (--all)", "dim")]
    if found.blocked:
        text = f"{found.blocked} more values pass between such kernels around something that needs one of them"
        yield [(f"  {text}", "dim")]
    if found.unknown:
        yield [(f"  no kernels were recorded of {', '.join(found.unknown[:4])}", "dim")]


def _chain(chain: Chain) -> Iterator[list[Styled]]:
    sizes = " ".join(f"{name}={size}" for name, size in chain.sizes.items())
    each = f"{short_bytes(chain.saved)} each" if chain.count > 1 else short_bytes(chain.saved)
    yield [(f"  {each} · {chain.count}{_TIMES}", "bold"), (f"  {chain.where or '?'}", "")]
    for kernel, ops in zip(chain.kernels, chain.ops, strict=True):
        yield [(f"      {kernel}: ", ""), (", ".join(_counted(ops)), "")]
    for value in chain.handed:
        times = [f"{value.written} write" if value.written else "", f"{value.read} read{'s' if value.read > 1 else ''}"]
        what = " and ".join(filter(None, times))
        yield [(f"      {value.node} ({value.ops[0]}) → {value.reader} ({value.ops[1]}): ", "dim"),
               (f"{short_bytes(value.bytes)}, {what} less", "dim")]  # fmt: skip
    facts = [
        f"for {sizes}" if sizes else "",
        f"ranges {', '.join(chain.ranges)}" if chain.ranges else "",
        chain.example,
    ]
    yield [(f"      {' · '.join(filter(None, facts))}", "dim")]


def _counted(ops: tuple[str, ...]) -> Iterator[str]:
    for op in dict.fromkeys(ops):
        count = ops.count(op)
        yield f"{op} {_TIMES}{count}" if count > 1 else op
