"""`cutaway ops`: operators with several implementations, and whether each does what it should."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutaway.cli.options import AsJson
from cutaway.cli.output import FINDING, Styled, aligned, write_json, write_lines
from cutaway.errors import UsageError

if TYPE_CHECKING:
    from cutaway.ops import CheckRow, IrOp

_SHOWN = 3  # failed cases of one implementation; --json has them all

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="check|OP", help="`check`, to compare implementations; names of ops. Default: all."),
]
Module = Annotated[
    list[str] | None,
    typer.Option("--module", metavar="MODULE", help="A module that registers more ops; it is imported. Repeatable."),
]
Provider = Annotated[
    list[str] | None,
    typer.Option("--provider", metavar="NAME", help="Check these implementations alone. Repeatable."),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="Where to check: cpu, cuda.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the random arguments that are checked.")]


def ops(
    words: Words = None,
    module: Module = None,
    provider: Provider = None,
    device: Device = "cpu",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> int:
    """List operators with several implementations: which this machine supports, and which comes first.

    `cutaway ops check` compares every implementation that this machine supports with the op's own definition,
    over the dtypes and sizes that the op's author has listed: outputs within the tolerance, arguments left
    alone, shapes as announced to the compiler. Exit code 1 when one differs.
    """
    for name in ("cutaway.ops.library", *(module or ())):
        _import(name)
    checking = bool(words) and words[0] == "check"
    wanted = _found(words[1:] if words and checking else words or [])
    if not checking:
        write_json({"ops": [_shape(op) for op in wanted]}) if as_json else write_lines(_listed(wanted))
        return 0
    rows = _checked(wanted, provider, device, seed)
    failed = any(row.outcome == "failed" for row in rows)
    if as_json:
        write_json({"ok": not failed, "rows": [_row(row) for row in rows]})
    else:
        write_lines(_verdicts(rows))
    return FINDING if failed else 0


def _import(name: str) -> None:
    try:
        import_module(name)
    except ImportError as error:
        raise UsageError(
            f"the module '{name}' cannot be imported",
            str(error),
            "give its dotted name, and see that it is on the path",
        ) from error


def _found(names: Sequence[str]) -> list[IrOp]:
    from cutaway.ops import find_op, registry  # noqa: PLC0415  (torch: only here, the other commands do without)

    return [find_op(name) for name in names] or [registry[name] for name in sorted(registry)]


def _shape(op: IrOp) -> dict[str, Any]:
    return {
        "op": op.name,
        "schema": op.schema,
        "activations": op.activations,
        "allow_inplace": op.allow_inplace,
        "priority": op.priority,
        "providers": [
            {
                "provider": impl.provider,
                "supported": impl.supported,
                "supports_all_args": impl.supports_all_args,
                "inplace": impl.inplace,
                "function": f"{impl.function.__module__}.{impl.function.__qualname__}",
            }
            for impl in op.impls.values()
        ],
    }


def _listed(wanted: Sequence[IrOp]) -> Iterator[list[Styled]]:
    for op in wanted:
        yield [(op.name, "bold"), (op.schema, "")]
        rows = [
            [
                impl.provider,
                "" if impl.supported else "not supported here",
                f"priority {op.priority.index(impl.provider) + 1}" if impl.provider in op.priority else "",
                ", ".join(_traits(impl.supports_all_args, impl.inplace)),
            ]
            for impl in op.impls.values()
        ]
        for row, impl in zip(aligned(rows), op.impls.values(), strict=True):
            yield [("  " + "  ".join(row).rstrip(), "" if impl.supported else "dim")]


def _traits(takes_all: bool, inplace: bool) -> Iterator[str]:
    if not takes_all:
        yield "some arguments only"
    if inplace:
        yield "in place"


def _checked(wanted: Sequence[IrOp], providers: list[str] | None, device: str, seed: int) -> list[CheckRow]:
    from cutaway.ops import check_op  # noqa: PLC0415

    of_each = {op.name: [name for name in providers or () if name in op.impls] or None for op in wanted}
    if providers:
        known = {name for op in wanted for name in op.impls}
        if unknown := [name for name in providers if name not in known]:
            raise UsageError(
                f"no op has a provider '{unknown[0]}'",
                f"there are: {', '.join(sorted(known))}",
                "name one of these, or leave --provider out",
            )
        wanted = [op for op in wanted if of_each[op.name]]
    return [row for op in wanted for row in check_op(op, of_each[op.name], device=device, seed=seed)]


def _row(row: CheckRow) -> dict[str, Any]:
    return vars(row) | {"error": row.error if math.isfinite(row.error) else None}


def _verdicts(rows: Sequence[CheckRow]) -> Iterator[list[Styled]]:
    groups: dict[tuple[str, str], list[CheckRow]] = {}
    for row in rows:
        groups.setdefault((row.op, row.provider), []).append(row)
    texts = aligned([[op, provider, _counts(group)] for (op, provider), group in groups.items()])
    for text, group in zip(texts, groups.values(), strict=True):
        failed = [row for row in group if row.outcome == "failed"]
        yield [("  ".join(text).rstrip(), "bold red" if failed else "")]
        for row in failed[:_SHOWN]:
            yield [(f"  {row.case}: {row.problem}", "red")]
        if len(failed) > _SHOWN:
            yield [(f"  and {len(failed) - _SHOWN} more", "red")]


def _counts(group: Sequence[CheckRow]) -> str:
    counts = {outcome: sum(row.outcome == outcome for row in group) for outcome in ("equal", "close", "refused")}
    parts = [f"{number} {outcome}" for outcome, number in counts.items() if number]
    if counts["close"]:
        worst = max(row.error for row in group if row.outcome == "close")
        parts[parts.index(f"{counts['close']} close")] += f" (at most {worst:.0%} of the tolerance)"
    failed = sum(row.outcome == "failed" for row in group)
    return ", ".join([f"{failed} FAILED"] * bool(failed) + parts)
