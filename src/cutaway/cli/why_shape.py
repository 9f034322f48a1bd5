"""`cutaway why shape`: what a compile assumes about sizes, and which line made it so."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import FINDING, write_json, write_lines
from cutaway.cli.why_shape_text import shape_lines
from cutaway.dump import load
from cutaway.explain.shapes import Assumptions, explain_shapes, uncaptured

Name = Annotated[
    str | None,
    typer.Argument(metavar="COMPILATION", help="Only this one, as `cutaway ls` names it, such as backbone."),
]


def shape(
    path: DumpPath,
    compilation: Name = None,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """What a compile assumes about sizes: which conditions restrict the batch size, and which line made each.

    Also graph breaks and recompiles, with their reasons. torch compiles the sizes 0 and 1 apart from all others (0/1
    specialisation): that is its own doing, and told apart from what the model demands. Only what was recorded is read.

    Exits 1 when a size is restricted or fixed, or there are graph breaks or recompiles.
    """
    dump = load(path, run, rank)
    found, nothing = explain_shapes(dump, compilation), [] if compilation is not None else uncaptured(dump)
    if as_json:
        write_json({"compilations": [_json(each) for each in found], "uncaptured": [asdict(each) for each in nothing]})
    else:
        write_lines(shape_lines(found, nothing))
    return FINDING if nothing or any(each.finding for each in found) else 0


def _json(found: Assumptions) -> dict[str, Any]:
    return {**asdict(found), "restricted": found.restricts}
