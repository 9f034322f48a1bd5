"""Records a split: every piece, then the stitching graph that calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import fx

from cutaway.record import texts
from cutaway.record.compilation import Compilation
from cutaway.record.context import at
from cutaway.record.fingerprint import fingerprint
from cutaway.record.layers.words import blocks
from cutaway.record.nodes import Table, layers_of
from cutaway.record.origins import Origin, Remembered, find_origins
from cutaway.record.recorder import Recorder


def record_split(recorder: Recorder, split_gm: fx.GraphModule, pieces: Mapping[str, str]) -> None:
    """Record the pieces and the stitching graph.

    Args:
        recorder: the recorder.
        split_gm: the stitching graph, with the pieces as sub-modules.
        pieces: sub-module name -> piece name (``submod_2`` -> ``piece_02``), in model order.
    """
    compilation = recorder.current(split_gm)
    previous = compilation.root.previous(None)
    inside: dict[str, dict[fx.Node, Origin]] = {}
    tables: dict[str, Table] = {}
    graphs: dict[str, str] = {}
    by_graph: dict[str, list[str]] = {}
    for submodule, piece in pieces.items():
        gm = split_gm.get_submodule(submodule)
        if isinstance(gm, fx.GraphModule):
            inside[piece] = find_origins(gm, previous.remembered if previous else None)
            tables[piece] = recorder.table(gm, inside[piece])
            graphs[piece] = fingerprint(tables[piece])
            recorder.note_piece(gm, graphs[piece])
            by_graph.setdefault(graphs[piece], []).append(piece)
    for equal in by_graph.values():
        compilation.equal_pieces.update({piece: [other for other in equal if other != piece] for piece in equal})
    for piece, table in tables.items():
        compilation.piece_layers[piece] = texts.some(blocks(layers_of(table)))
    origins = (
        stitching_origins(split_gm, {name: inside[piece] for name, piece in pieces.items()}, previous.remembered)
        if previous
        else None
    )
    recorder.graph("after_split", split_gm, origins=origins)
    for submodule, piece in pieces.items():
        gm = split_gm.get_submodule(submodule)
        if isinstance(gm, fx.GraphModule):
            with at(piece=piece):
                recorder.graph("piece", gm, origins=inside[piece], made=(tables[piece], graphs[piece]))


def comment_execution_code(text: str, compilation: Compilation, pieces: Mapping[str, str]) -> str:
    """The stitching code, with a line above each call of a piece that says which piece, layers and ranges it is.

    Args:
        text: the generated function.
        compilation: whose it is.
        pieces: what stands in the code for a piece (``__vllm_submods__[2]``) -> the piece's name.
    """
    shown: list[str] = []
    for line in text.splitlines():
        code = line.lstrip()
        piece = next(
            (piece for call, piece in pieces.items() if f"= {call}(" in code or code.startswith(f"{call}(")), None
        )
        if piece is not None:
            equal = [piece, *compilation.equal_pieces.get(piece, [])]
            scopes = [compilation.root.children[name] for name in equal if name in compilation.root.children]
            names = sorted({name for scope in scopes for name in scope.children}, key=_range_order)
            ranges = f" · compiled for {', '.join(names)}" if names else " · runs as it is"
            indent = line[: len(line) - len(code)]
            shown.append(f"{indent}# {piece} · {compilation.piece_layers.get(piece, '')}{ranges}")
        shown.append(line)
    return "\n".join(shown) + "\n"


def _range_order(name: str) -> list[int]:
    return [int(size) for size in re.findall(r"\d+", name)]


def stitching_origins(
    split_gm: fx.GraphModule, pieces: Mapping[str, Mapping[fx.Node, Origin]], previous: Remembered
) -> dict[fx.Node, Origin]:
    """A call of a piece stems from all nodes inside it; the parts taken from its result, from what made them."""
    found: dict[fx.Node, Origin] = {}
    made_by: dict[fx.Node, list[Any]] = {}
    for node in split_gm.graph.nodes:
        if node.op == "call_module":
            inner = split_gm.get_submodule(str(node.target))
            if not isinstance(inner, fx.GraphModule):
                continue
            inside = pieces.get(str(node.target), {})
            calls = [inside[part] for part in inner.graph.nodes if part.op.startswith("call_") and part in inside]
            found[node] = previous.origin(number for origin in calls for number in origin.ids)
            results = inner.graph.output_node().args[0]
            results = list(results) if isinstance(results, (list, tuple)) else [results]
            made_by[node] = [inside.get(part) if isinstance(part, fx.Node) else None for part in results]
        elif node.op == "call_function" and node.args and node.args[0] in made_by and isinstance(node.args[1], int):
            origin = made_by[node.args[0]][node.args[1]]
            if origin is not None:
                found[node] = origin
    return found
