"""`cutaway ls`: what was compiled, and what is the same as what."""

from __future__ import annotations

from typing import Annotated

import typer

from cutaway.cli.ls_json import dump_shape
from cutaway.cli.ls_text import dump_lines
from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import write_json, write_lines
from cutaway.dump import Dump, load
from cutaway.dump.select import matching, unknown

Part = Annotated[
    str | None, typer.Argument(metavar="SELECTOR", help="Only what has this in its path, such as piece_02.")
]
Everything = Annotated[bool, typer.Option("--all", help="Also list passes that changed nothing, and every kernel.")]


def ls(
    path: DumpPath,
    selector: Part = None,
    everything: Everything = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """List what was compiled: stages, pieces and ranges.

    Pieces, ranges and ranks that are the same are listed once. `*` marks a graph that differs from the one
    before it.
    """
    dump = load(path, run, rank)
    wanted = None if selector is None else _wanted(dump, selector)
    if as_json:
        write_json(dump_shape(dump, wanted))
    else:
        write_lines(dump_lines(dump, wanted, everything))
    return 0


def _wanted(dump: Dump, selector: str) -> frozenset[str]:
    """The selectors to list. Raises SelectorError when there are none."""
    passes = [step.selector for compilation in dump for step in compilation.passes]
    found = matching(selector, [*dump.selectors, *passes])
    if not found:
        raise unknown(selector, dump.selectors)
    return frozenset(found)
