"""`cutaway lineage`: a node's way from its source line to its kernel."""

from __future__ import annotations

from typing import Annotated

import typer

from cutaway.cli.lineage_json import lineage_shape
from cutaway.cli.lineage_text import lineage_lines
from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import write_json, write_lines
from cutaway.dump import load
from cutaway.dump.lineage import lineage as follow

Place = Annotated[
    str,
    typer.Argument(metavar="NODE", help="A node, a line of the model, a layer or a kernel; see above."),
]
Stage = Annotated[
    str | None,
    typer.Option("--stage", metavar="STAGE", help="Only this stage or pass, such as captured or '*Lowering*'."),
]
Everything = Annotated[bool, typer.Option("--all", help="Every stage and every place, also where nothing differs.")]


def lineage(
    path: DumpPath,
    node: Place,
    stage: Stage = None,
    everything: Everything = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """A node's way through all stages: source line, layer, captured node, piece, passes, last graph, kernel.

    Both ways: what NODE stems from, and what became of it. What is the same in several layers, pieces and ranges
    is shown once; what the dump does not tell is said to be unknown.

    \b
      piece_02/range_8_8/post_grad:mul_6   a node of a snapshot
      mul_6                                a node, wherever one is called so
      qwen3.py:162                         a line of the model
      layers.3.mlp   'layers.*.mlp'        a layer and all below it
      cpp_fused_add_0   piece_02:cpp_...   a kernel: which layers' lines are in it

    `name:`, `source:`, `layer:` or `kernel:` before NODE says which of these is meant.
    """
    found = follow(load(path, run, rank), node, stage)
    if as_json:
        write_json(lineage_shape(found))
    else:
        write_lines(lineage_lines(found, everything, stage))
    return 0
