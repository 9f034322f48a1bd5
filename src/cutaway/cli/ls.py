"""`cutaway ls`: what was compiled, and what is the same as what."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from cutaway.cli.ls_json import dump_shape
from cutaway.cli.ls_overview import overview_lines
from cutaway.cli.ls_text import dump_lines
from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import terminal_width, write_json, write_lines
from cutaway.dump import Dump, load
from cutaway.dump.select import matching, unknown

Part = Annotated[
    str | None, typer.Argument(metavar="SELECTOR", help="Only what has this in its path, such as piece_02.")
]
Everything = Annotated[
    bool,
    typer.Option("--all", help="Every stage, pass and kernel of every piece and range, with its file."),
]
PIPE = 120
"""Columns that lines are cut to where nobody says how wide the output is."""


def ls(
    path: DumpPath,
    selector: Part = None,
    everything: Everything = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """List what was compiled: stages, pieces and ranges.

    Without a selector: an overview that fits a screen. First what is unusual; then a row for each stage and pass
    that changed a graph, a column for each kind of piece, with the nodes after it. Pieces, ranges and ranks that
    are the same are shown once.

    With a selector: its stages one by one, what each changed, how long it took, and the file. `*` marks a graph
    that differs from the one before it.
    """
    dump = load(path, run, rank)
    wanted = None if selector is None else _wanted(dump, selector)
    if as_json:
        write_json(dump_shape(dump, wanted))
    elif wanted is None and not everything:
        asked = path if run is None and rank is None else str(dump.path)
        write_lines(overview_lines(dump, shlex.quote(asked), terminal_width() or PIPE))
    else:
        write_lines(dump_lines(dump, wanted, everything or _names_steps(selector, wanted)))
    return 0


def _names_steps(selector: str | None, wanted: frozenset[str] | None) -> bool:
    """Whether a selector names steps themselves, and not a folder that they are in."""
    last = (selector or "").rstrip("/").rpartition("/")[2].lower()
    return all(last in name.rpartition("/")[2].lower() for name in wanted or ())


def _wanted(dump: Dump, selector: str) -> frozenset[str]:
    """The selectors to list. Raises SelectorError when there are none."""
    passes = [step.selector for compilation in dump for step in compilation.passes]
    found = matching(selector, [*dump.selectors, *passes])
    if not found:
        raise unknown(selector, dump.selectors)
    return frozenset(found)
