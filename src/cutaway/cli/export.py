"""`cutaway export`: a dump in the format of another viewer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.options import DumpPath, RankName, RunName
from cutaway.errors import UsageError
from cutaway.web.export import FORMATS
from cutaway.web.export import export as exported

Selectors = Annotated[
    list[str] | None,
    typer.Argument(metavar="SELECTOR", help="Which graphs. Default: each graph that differs."),
]
Format = Annotated[str, typer.Option("--format", "-f", metavar="|".join(FORMATS), help="Whose format.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write. Default: -.")]


def export(
    path: DumpPath,
    selectors: Selectors = None,
    form: Format = "model-explorer",
    output: Output = None,
    run: RunName = None,
    rank: RankName = None,
) -> int:
    """Write graphs for Model Explorer, Graphviz or a script, or the compile as a timeline for Perfetto."""
    text = exported(path, form, selectors or (), run, rank)
    if output is None or str(output) == "-":
        sys.stdout.write(text)
        return 0
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{str(output)!r} cannot be written", error.strerror or str(error), "name another -o"
        ) from error
    return 0
