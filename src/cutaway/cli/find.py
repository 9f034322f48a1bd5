"""`cutaway find`: nodes, by what they are, at every stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cutaway.cli.find_text import form_lines, hit_lines, miss_lines
from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import BAD_USE, FINDING, complain, write_json, write_lines
from cutaway.dump import load
from cutaway.dump.query import Form, Found, Hit, Miss, find_nodes, fold, misses
from cutaway.dump.query.fold import op_text, type_texts

Query = Annotated[
    list[str],
    typer.Argument(metavar="QUERY", help="Terms such as op:rms_norm, layer:'*.mlp', -dtype:bf16; all must hold."),
]
Stage = Annotated[
    str | None, typer.Option("--stage", metavar="STAGE", help="Only at this stage, such as captured or '*Lowering*'.")
]
Everything = Annotated[bool, typer.Option("--all", help="List every node in every graph, nothing folded.")]


def find(
    path: DumpPath,
    query: Query,
    stage: Stage = None,
    everything: Everything = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """Find nodes at every stage, by what they are; what is the same in several layers and stages is shown once.

    Every term of QUERY must hold. `a|b` is either, `-` before a term turns it round, `*` and `?` stand for any
    characters and any one; quotes keep blanks. A word alone is looked for in operators and names.

    \b
      op:rms_norm       operator, or a part of its name; op:placeholder, op:output
      layer:*.mlp       layer of the model and all below it, or its class
      dtype:bf16        dtype of a value
      shape:[s*,256]    [..., 64], [>=1024, *]; without brackets: any of the sizes
      device:cuda       device of a value
      source:x.py:40    file, file:line, function, or text of the line of Python
      provider:native   who implements the operator, or will
      kernel:cpp_*      kernel that the node became a part of
      pass:*Lowering*   pass that made, changed or removed it, or what it
                        stems from, or what became of it
      stage:post_grad   stage or pass after which the graph is seen
      piece:2           where the graph is; also range:8_8, phase:, compilation:
      name:mul_*        name of the node, or model path of a weight

    Exit codes: 1 when nothing is found, 2 when a graph could not be searched.
    """
    dump = load(path, run, rank)
    found = find_nodes(dump, " ".join(query), stage)
    missed = [] if found.hits else misses(dump, found.terms)
    forms = [] if everything else fold(found)
    if as_json:
        write_json(_shape(found, forms, everything) | {"misses": [_miss(miss) for miss in missed]})
    elif missed:
        write_lines(miss_lines(found, missed))
    else:
        write_lines(hit_lines(found) if everything else form_lines(found, forms))
    for selector, problem in found.unread.items():
        complain(f"{selector} was not searched: {problem}")
    return BAD_USE if found.unread else 0 if found.hits else FINDING


def _shape(found: Found, forms: Sequence[Form], everything: bool) -> dict[str, Any]:
    return {
        "query": " ".join(map(str, found.terms)),
        "nodes": len(found.hits),
        "forms": [_form(form) for form in forms],
        "found": [_hit(hit) for hit in found.hits] if everything else [],
        "unread": found.unread,
    }


def _form(form: Form) -> dict[str, Any]:
    return {
        "compilation": form.compilation,
        "op": form.op,
        "types": form.types,
        "where": form.where,
        "layers": form.names,
        "lacking": form.lacking,
        "class": form.cls,
        "source": form.source,
        "providers": form.providers,
        "count": form.count,
        "stages": form.stages,
        "of": form.of,
        "ranges": form.ranges,
        "example": form.example.selector,
    }


def _hit(hit: Hit) -> dict[str, Any]:
    snapshot = hit.view.snapshot
    return {
        "node": hit.selector,
        "op": op_text(hit.node),
        "target": hit.node.target,
        "types": type_texts(hit.node),
        "layer": hit.layer,
        "class": hit.layers[-1].rpartition(": ")[2] if hit.layers else "",
        "source": hit.source,
        "compilation": snapshot.compilation,
        "stage": hit.view.stage,
        "piece": hit.view.piece,
        "range": snapshot.range,
        "compiled_with": snapshot.piece if hit.view.stands_in else None,
    }


def _miss(miss: Miss) -> dict[str, Any]:
    return {"term": str(miss.term), "nodes": miss.nodes, "near": miss.near, "idle": miss.idle}
