"""`cutaway compare`: two runs, ranks or configurations."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

import typer

from cutaway.cli.compare_json import comparison_shape
from cutaway.cli.compare_text import comparison_lines, ranks_lines
from cutaway.cli.options import AsJson
from cutaway.cli.output import FINDING, write_json, write_lines
from cutaway.dump import load
from cutaway.dump.compare import KINDS, Kind, compare_ranks, compare_runs
from cutaway.errors import UsageError

First = Annotated[str, typer.Argument(metavar="A", help="A dump, or the folder of one of its runs or processes.")]
Second = Annotated[
    str | None, typer.Argument(metavar="B", help="Another one. Without it: the processes of A with each other.")
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="WHAT",
        help="What must not differ: graphs (the default), kernels or count; several with commas.",
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="List every setting and every stage, also what is the same.")]


def compare(
    a: First, b: Second = None, fail_on: FailOn = None, everything: Everything = False, as_json: AsJson = False
) -> int:
    """Compare what two runs compiled, or the processes (ranks) of one.

    Graphs are the same when they are equal up to names; code is the same without its comments and folders. Pieces
    are matched by what is in them, ranges by their sizes, passes by name and order, whatever their numbers.

    Exit codes: 1 when what must not differ does.
    """
    kinds = _kinds(fail_on or [])
    differs = _compare_ranks(a, kinds, everything, as_json) if b is None else _compare(a, b, kinds, everything, as_json)
    return FINDING if differs else 0


def _kinds(asked: Sequence[str]) -> list[Kind]:
    """What must not differ. Raises UsageError."""
    names = [name.strip() for text in asked for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            near = get_close_matches(name, KINDS, 1)
            cure = f"did you mean {near[0]}" if near else f"give one or more of {', '.join(KINDS)}"
            raise UsageError(f"--fail-on does not know {name!r}", f"there are {', '.join(KINDS)}", cure)
    return [kind for kind in KINDS if kind in names] or ["graphs"]


def _compare(a: str, b: str, kinds: Sequence[Kind], everything: bool, as_json: bool) -> bool:
    """Print how two runs differ; whether they do."""
    first, second = load(a), load(b)
    found = compare_runs(first, second)
    several = len(first.processes) > 1 and len(second.processes) > 1
    only_a = [name for name in first.processes if several and name not in second.processes]
    only_b = [name for name in second.processes if several and name not in first.processes]
    if as_json:
        comparisons = [{"processes": names, **comparison_shape(each)} for names, each in found]
        write_json({"comparisons": comparisons, "only_a": only_a, "only_b": only_b})
    else:
        for names, each in found:
            write_lines([[(", ".join(names), "bold")]] if several else [])
            write_lines(comparison_lines(each, (a, b), everything))
            write_lines([[]] if several else [])
        for side, names in (("A", only_a), ("B", only_b)):
            write_lines([[(f"only in {side}: {', '.join(names)}", "bold red")]] if names else [])
    return bool(only_a or only_b) or any(each.differs(kinds) for _, each in found)


def _compare_ranks(path: str, kinds: Sequence[Kind], everything: bool, as_json: bool) -> bool:
    """Print how the processes of one run differ; whether they do."""
    found = compare_ranks(load(path))
    if as_json:
        odd = [(group.names, group.comparison) for group in found.groups if group.comparison is not None]
        comparisons = [{"processes": names, **comparison_shape(each)} for names, each in odd]
        write_json({"comparisons": comparisons, "ranks": [group.names for group in found.groups]})
    else:
        write_lines(ranks_lines(found, everything))
    return any(group.comparison is not None and group.comparison.differs(kinds) for group in found.groups)
