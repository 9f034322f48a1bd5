"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DumpPath = Annotated[
    str,
    typer.Argument(metavar="DUMP", help="The dump's folder, or the folder of one of its runs or processes."),
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Which run, such as run_001. Default: the newest.")
]
RankName = Annotated[
    str | None,
    typer.Option("--rank", metavar="RANK", help="Which process, such as rank_1_dp_0. Default: the first."),
]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="DUMP", help="Another dump (or one of its runs) to compare with, in the page."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON (docs/dump-format.md has its shape).")]
