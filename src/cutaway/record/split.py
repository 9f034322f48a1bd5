"""Records a split: every piece, then the stitching graph that calls them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import fx

from cutaway.record import texts
from cutaway.record.compilation import Compilation
from cutaway.record.context import at
from cutaway.record.fingerprint import fingerprint
from cutaway.record.layers.words import blocks
from cutaway.record.nodes import Table
from cutaway.record.origins import Origin, Remembered, find_origins
from cutaway.record.recorder import Recorder
from cutaway.record.summary import layers_of


def record_split(recorder: Recorder, split_gm: fx.GraphModule, pieces: Mapping[str, str]) -> None:
    """Record the pieces and the stitching graph.

    Args:
        recorder: the recorder.
        split_gm: the stitching graph, with the pieces as sub-modules.
        pieces: sub-module name -> piece name (``submod_2`` -> ``piece_02``), in model order.
    """
    compilation = recorder.current(split_gm)
    previous = compilation.root.previous(None)
    remembered = previous.remembered if previous else None
    parts = {piece: split_gm.get_submodule(name) for name, piece in pieces.items()}
    graphs_of = {piece: gm for piece, gm in parts.items() if isinstance(gm, fx.GraphModule)}
    inside = {piece: find_origins(gm, remembered) for piece, gm in graphs_of.items()}
    origins = None
    if remembered is not None:
        known = {name: inside[piece] for name, piece in pieces.items() if piece in inside}
        origins = stitching_origins(split_gm, known, remembered)
    tables: dict[str, Table] = {}
    graphs: dict[str, str] = {}
    by_graph: dict[str, list[str]] = {}
    for piece, gm in graphs_of.items():
        tables[piece] = recorder.table(gm, inside[piece])
        graphs[piece] = fingerprint(tables[piece])
        recorder.note_piece(gm, graphs[piece])
        by_graph.setdefault(graphs[piece], []).append(piece)
    for equal in by_graph.values():
        compilation.equal_pieces.update({piece: [other for other in equal if other != piece] for piece in equal})
    for piece, table in tables.items():
        compilation.piece_layers[piece] = texts.some(blocks(layers_of(table)))
    recorder.graph("after_split", split_gm, origins=origins)
    for piece, gm in graphs_of.items():
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
    split_gm: fx.GraphModule, pieces: Mapping[str, dict[fx.Node, Origin]], previous: Remembered
) -> dict[fx.Node, Origin]:
    """Where the nodes of a stitching graph come from, and the inputs of the pieces that it calls.

    A call of a piece stems from all nodes inside it; the parts taken from its result, from what made them. An input of
    a piece stems from what the call hands to it: the node of the whole graph that another piece has, or an input.

    Args:
        split_gm: the stitching graph, with the pieces as sub-modules.
        pieces: sub-module name -> what is known of its nodes; what is handed to it is added.
        previous: the graph that was split.
    """
    found: dict[fx.Node, Origin] = {}
    values: dict[fx.Node, Origin] = {}
    results: dict[fx.Node, list[Origin | None]] = {}
    for node in split_gm.graph.nodes:
        if node.op in ("placeholder", "get_attr") and _is_kept(node, previous):
            found[node] = values[node] = previous.origin((previous.names[node.name],))
        elif node.op == "call_module" and str(node.target) in pieces:
            inner, inside = split_gm.get_submodule(str(node.target)), pieces[str(node.target)]
            assert isinstance(inner, fx.GraphModule)
            _hand_over(node, inner, inside, values)
            calls = [inside[part] for part in inner.graph.nodes if part.op.startswith("call_") and part in inside]
            found[node] = previous.origin(number for origin in calls for number in origin.ids)
            made = inner.graph.output_node().args[0]
            if isinstance(made, (list, tuple)):
                results[node] = [inside.get(part) if isinstance(part, fx.Node) else None for part in made]
            elif isinstance(made, fx.Node) and made in inside:
                values[node] = inside[made]
        elif node.op == "call_function" and node.args and node.args[0] in results and isinstance(node.args[1], int):
            origin = results[node.args[0]][node.args[1]]
            if origin is not None:
                found[node] = values[node] = origin
    return found


def _is_kept(node: fx.Node, previous: Remembered) -> bool:
    """Whether a node that is no call was there before under its name."""
    number = previous.names.get(node.name)
    return number is not None and previous.rows[number]["op"] == node.op


def _hand_over(
    call: fx.Node, inner: fx.GraphModule, inside: dict[fx.Node, Origin], values: Mapping[fx.Node, Origin]
) -> None:
    """Note where the inputs of a piece come from, those of which it is not known yet."""
    for taken, given in zip(inner.graph.find_nodes(op="placeholder"), call.args, strict=False):
        origin = values.get(given) if isinstance(given, fx.Node) else None
        if origin is not None and taken not in inside:
            inside[taken] = Origin(origin.ids)  # in no layer itself, and of its own line
