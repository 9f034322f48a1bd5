"""`cutaway show`: a graph or a generated text."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cutaway.cli.nodes import node_lines
from cutaway.cli.options import AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import write_json, write_lines, write_text
from cutaway.dump import Code, Snapshot, load
from cutaway.errors import UsageError

Selector = Annotated[
    str,
    typer.Argument(metavar="SELECTOR", help="A path as `cutaway ls` prints it, or any unambiguous part of one."),
]
Layers = Annotated[bool, typer.Option("--layers", help="The graph nested by the model's layers (the default).")]
Raw = Annotated[bool, typer.Option("--raw", help="The graph as Python that runs again.")]
CodeView = Annotated[bool, typer.Option("--code", help="The code that the graph became.")]
Nodes = Annotated[bool, typer.Option("--nodes", help="One line a node, with where it comes from.")]
Only = Annotated[
    str | None,
    typer.Option("--only", metavar="GLOB", help="With --layers: only the layers that match, such as 'layers.3.*'."),
]
Unfold = Annotated[bool, typer.Option("--unfold", help="With --layers: show identical layers one by one.")]


def show(
    path: DumpPath,
    selector: Selector,
    layers: Layers = False,
    raw: Raw = False,
    code: CodeView = False,
    nodes: Nodes = False,
    only: Only = None,
    unfold: Unfold = False,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """Show a graph at a stage, or generated code."""
    views = {"layers": layers, "raw": raw, "code": code, "nodes": nodes}
    asked = [f"--{name}" for name, wanted in views.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} exclude each other", "a graph is shown one way at a time", "give one")
    if asked not in ([], ["--layers"]) and (only is not None or unfold):
        raise UsageError(f"--only and --unfold do not go with {asked[0]}", "they are about layers", "leave them out")
    dump = load(path, run, rank)
    found = dump.find(selector)
    if isinstance(found, Snapshot) and code:
        found = dump.code_of(found)
    view = "code" if isinstance(found, Code) else (asked[0].removeprefix("--") if asked else "layers")
    if isinstance(found, Code) and asked not in ([], ["--code"]):
        raise UsageError(f"{found.selector!r} is code, no graph", f"it has no {asked[0]} view", "leave the view out")
    if isinstance(found, Snapshot) and view == "nodes":
        _write_nodes(found, as_json)
    elif as_json:
        write_json(_facts(found, view) | {"text": _text(found, view, only, unfold)})
    else:
        write_text(_text(found, view, only, unfold))
    return 0


def _write_nodes(snapshot: Snapshot, as_json: bool) -> None:
    if as_json:
        write_json(_facts(snapshot, "nodes") | {"table": snapshot.table})
    else:
        write_lines([[(line, "")] for line in node_lines(snapshot.table)])


def _text(found: Snapshot | Code, view: str, only: str | None, unfold: bool) -> str:
    if isinstance(found, Code):
        return found.text
    if view == "raw":
        return found.raw
    if only is not None or unfold:
        return found.render_layers(fold=not unfold, only=only)
    return found.layers_text


def _facts(found: Snapshot | Code, view: str) -> dict[str, Any]:
    return {
        "selector": found.selector,
        "view": view,
        "stage": found.stage if isinstance(found, Snapshot) else found.kind,
        "phase": found.phase,
        "piece": found.piece,
        "range": found.range,
        "same_as": found.same_as,
        "graph": found.graph if isinstance(found, Snapshot) else None,
    }
