"""The pages of a dump that a person opens first: the root's README.md and each compilation's index.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cutaway.record import texts
from cutaway.record.compilation import Compilation
from cutaway.stages import STAGES

_README = """# What lies here

This folder was written by Cutaway while a PyTorch model was being compiled. It holds the graph of the model at
every stage of the compile, from the Python that was captured to the kernels that run. Nothing here is needed to
run the model: read it, copy it, delete it.

    run_001/                       one run of a program; a second run is run_002
      rank_0_dp_0/                 one process of it (rank and data-parallel rank)
        manifest.jsonl             everything that was recorded, one event a line, in order
        context.json               versions, command line, configuration, environment
        <compilation>/             one compiled function; in vLLM, `backbone` is the model
          index.md                 START HERE: every stage in order, what each pass changed, and in which file
          00.captured.py           a graph, raw: `python 00.captured.py` runs it again
          00.captured.layers.txt   the same graph, structured: nested by the model's layers
          03.piece_00/             one piece of the split graph; equal pieces are stored once (index.md says which)
            range_1_4096/          the piece compiled for these sizes (number of tokens)
              90.output_code.py    what Inductor generated; the kernels lie beside it
          99.execution_code.py     the function that calls the pieces one after another
        nodes/                     every graph as a table of nodes, for tools

Files are numbered in the order in which the compiler made them. A stage that left the graph as it was has a row in
index.md and no file; so has a graph that is equal, up to names, to one that is there already.

## How to read it

1. Open `index.md` of a compilation, and follow a piece from top to bottom.
2. Open a `.layers.txt` with `less -S`: each line is one operation, under the layer that it belongs to, with dtype,
   shape and source line. Layers that are equal are shown once.
3. Look at `90.output_code.py` for the kernels that the last graph became.

Four commands do the same with more comfort, when Cutaway is installed:

    cutaway ls .                         what was compiled: stages, pieces, ranges, what is the same as what
    cutaway show . captured              a graph, nested by layer (--raw, --code, --nodes for other views)
    cutaway show . post_grad --code      the generated code of a piece and range
    cutaway verify .                     is the dump whole?

## The stages

{stages}
"""


def write_readme(root: Path) -> None:
    """Write ``README.md`` of a dump, complete or not at all."""
    rows = "\n".join(f"- **{stage.name}** ({stage.maker}): {stage.sentence}" for stage in STAGES)
    aside = root / f".README.{os.getpid()}.tmp"
    aside.write_text(_README.format(stages=rows), encoding="utf-8")
    aside.replace(root / "README.md")


def index(compilation: Compilation, rows: list[dict[str, Any]]) -> str:
    """``index.md``: a table of every stage and pass, by piece and range, in order."""
    lines = [f"# {compilation.name}", ""]
    facts = {
        "function": f"`{compilation.function}`"
        + (f" ({compilation.file}:{compilation.line})" if compilation.file else ""),
        "model": compilation.model,
        "recompile": f"number {compilation.recompile}" if compilation.recompile else None,
        "because": "; ".join(compilation.reasons) or None,
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += _compiled_again(compilation, rows)
    equal = _equal_pieces(compilation)
    if equal:
        lines += [
            "",
            "## Pieces",
            "",
            "| piece | layers | equal to it |",
            "|---|---|---|",
            *_piece_rows(rows, equal),
        ]
    for (piece, compile_range, phase), group in _groups(rows).items():
        title = " · ".join(part for part in (piece, texts.range_text(compile_range), phase) if part)
        lines += ["", f"## {title or 'the whole graph'}", ""]
        again = _all_as(group)
        lines += [f"All as in {again}."] if again else _table(group, compilation.root.folder)
    return "\n".join(lines) + "\n"


def _compiled_again(compilation: Compilation, rows: list[dict[str, Any]]) -> list[str]:
    """Pieces whose code was generated although an equal piece had it already."""
    repeated = {row["piece"] for row in rows if row.get("stage") == "piece" and row.get("same_as")}
    again = [row for row in rows if row.get("kind") == "output_code" and row["piece"] in repeated and not row["cached"]]
    if not again:
        return []
    lines = ["", "## Compiled although an equal piece was compiled", ""]
    for row in again:
        first = min(compilation.equal_pieces[row["piece"]])
        lines.append(f"- {row['piece']} for {texts.range_text(row['range'])}: equal to {first}, with another cache key")
    return lines


def _equal_pieces(compilation: Compilation) -> dict[str, list[str]]:
    """Piece -> the later pieces that are equal to it, for the first piece of each kind."""
    return {piece: others for piece, others in compilation.equal_pieces.items() if not others or min(others) > piece}


def _piece_rows(rows: list[dict[str, Any]], equal: Mapping[str, list[str]]) -> list[str]:
    layers = {row["piece"]: row["layers"] for row in rows if row.get("stage") == "piece" and "layers" in row}
    return [
        f"| {piece} | {texts.some(texts.blocks(layers.get(piece, [])))} | {texts.some(others) or '—'} |"
        for piece, others in equal.items()
    ]


def _groups(rows: list[dict[str, Any]]) -> dict[tuple[Any, Any, Any], list[dict[str, Any]]]:
    """Rows by piece, range and phase; a piece that repeats another is left to the table of pieces."""
    groups: dict[tuple[Any, Any, Any], list[dict[str, Any]]] = {}
    repeated = {row["piece"] for row in rows if row.get("stage") == "piece" and row.get("same_as")}
    for row in rows:
        if row["piece"] in repeated:
            continue
        phase = row["phase"] if row["phase"] in ("forward", "backward") else None
        groups.setdefault((row["piece"], row["range"], phase), []).append(row)
    return groups


def _all_as(rows: list[dict[str, Any]]) -> str | None:
    """The one place that holds everything of this group already, if there is one."""
    shown = [row for row in rows if row["event"] != "pass"]
    if len(shown) < 2 or any(row["files"] or not row["same_as"] for row in shown):
        return None
    places = {
        row["same_as"].rpartition("/kernels/")[0] or row["same_as"].rpartition("/")[0]
        for row in shown
        if row.get("kind") != "kernel"
    }
    return places.pop() if len(places) == 1 else None


def _table(rows: list[dict[str, Any]], folder: str) -> list[str]:
    lines = ["| stage | nodes | change | ms | file |", "|---|---:|---|---:|---|"]
    idle = 0
    for row in rows:
        if row["event"] == "pass":
            idle += not row["changed"]
            continue
        if idle:
            lines.append(f"| *{idle} passes changed nothing* | | | | |")
            idle = 0
        lines.append(_line(row, folder))
    return lines + ([f"| *{idle} passes changed nothing* | | | | |"] if idle else [])


def _line(row: dict[str, Any], folder: str) -> str:
    name = row["selector"].removeprefix(row["scope"]).lstrip("/")
    path = next((file["path"] for file in row["files"] if file["kind"] in ("raw", "code")), None)
    link = f"[{path.removeprefix(folder + '/')}]({path.removeprefix(folder + '/')})" if path else ""
    if not link and row["same_as"]:
        link = f"same as {row['same_as'].removeprefix(folder + '/')}"
    if row["event"] == "code":
        cached = " (from the cache)" if row["cached"] else ""
        made_of = sum(len(nodes) for nodes in row["kernels"].values())
        fused = f"made of {made_of} nodes" if row["kind"] == "kernel" and made_of else ""
        return f"| {name}{cached} | | {fused} | | {link} |"
    change = texts.delta_text(row["ops_delta"]) or ("rewritten, same op counts" if row["changed"] else "")
    if row["stage"] == "after_split":
        change = "the pieces and their order"
    ms = f"{row['ms']:.1f}" if row["ms"] is not None else ""
    return f"| {name} | {row['nodes']} | {change} | {ms} | {link} |"
