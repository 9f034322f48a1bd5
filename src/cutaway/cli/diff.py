"""`cutaway diff`: what a pass changed, or in what two graphs differ."""

from __future__ import annotations

from typing import Annotated

import typer

from cutaway.cli.diff_json import diff_json
from cutaway.cli.diff_text import diff_lines
from cutaway.cli.diff_unified import unified_lines
from cutaway.cli.options import AsJson, DumpPath
from cutaway.cli.output import FINDING, terminal_width, write_json, write_lines
from cutaway.dump import load
from cutaway.dump.diff.select import Compared, compare_dumps, compare_ranges, compare_step, compare_steps
from cutaway.errors import UsageError

Selector = Annotated[
    str,
    typer.Argument(
        metavar="SELECTOR",
        help="A pass or a stage, as `cutaway ls` prints it, or any part of its name: what it changed. "
        "One that is in several pieces and ranges is shown in all of them.",
    ),
]
Other = Annotated[
    str | None,
    typer.Argument(metavar="SELECTOR", help="A second one: what differs from the first to this one."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="RANGE", help="Only in this compile range; given twice: one against the other."),
]
Ranks = Annotated[
    list[str] | None,
    typer.Option("--rank", metavar="RANK", help="Which process (default: the first); twice: one against the other."),
]
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="RUN", help="Which run (default: the newest); twice: one against the other."),
]
Brief = Annotated[bool, typer.Option("--brief", help="What became of what, without the nodes.")]
AsText = Annotated[bool, typer.Option("--text", help="The nodes as unified text, for a file or a review.")]


def diff(
    path: DumpPath,
    selector: Selector,
    other: Other = None,
    ranges: Ranges = None,
    ranks: Ranks = None,
    runs: Runs = None,
    brief: Brief = False,
    as_text: AsText = False,
    as_json: AsJson = False,
) -> int:
    """Show what a pass changed, node by node.

    What is the same in several layers, pieces and ranges is shown once. Exits with 1 when there is a difference.
    """
    if sum((brief, as_text, as_json)) > 1:
        raise UsageError(
            "--brief, --text and --json exclude each other", "a diff is shown one way at a time", "give one"
        )
    found = _compared(path, selector, other, ranges or [], ranks or [], runs or [])
    if as_json:
        write_json(diff_json(found))
    elif as_text:
        write_lines(unified_lines(found))
    else:
        write_lines(diff_lines(found, terminal_width(), brief))
    return 0 if all(each.is_empty for each in found) else FINDING


def _compared(
    path: str, selector: str, other: str | None, ranges: list[str], ranks: list[str], runs: list[str]
) -> list[Compared]:
    twice = [f"--{name}" for name, given in (("range", ranges), ("rank", ranks), ("run", runs)) if len(given) > 1]
    if any(len(given) > 2 for given in (ranges, ranks, runs)):
        raise UsageError(f"{twice[0]} was given more than twice", "two graphs are compared at a time", "give two")
    if len(twice) > 1 or (twice and other is not None):
        given = [*twice, *(["a second SELECTOR"] if other is not None else [])]
        raise UsageError(
            f"{' and '.join(given)} exclude each other", "each names two things to compare", "give one of them"
        )
    dumps = [load(path, run, rank) for run in (runs or [None]) for rank in (ranks or [None])]
    if len(dumps) == 2:
        return compare_dumps(dumps[0], dumps[1], selector, ranges)
    if len(ranges) == 2:
        return compare_ranges(dumps[0], selector, ranges[0], ranges[1])
    if other is not None:
        return compare_steps(dumps[0], selector, other, ranges)
    return compare_step(dumps[0], selector, ranges)
