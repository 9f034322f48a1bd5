"""The pages of a dump that a person opens first: the root's README.md and each compilation's index.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cutaway.record import texts
from cutaway.record.compilation import Compilation
from cutaway.record.layers.words import blocks, reason_line
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
    cutaway show . SELECTOR              a graph, nested by layer (--raw, --code, --nodes for other views)
    cutaway diff . SELECTOR              what a pass changed; a selector is a path as ls prints it, or its last parts
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


def is_made(row: Mapping[str, Any]) -> bool:
    """Whether what a row says happened in a compile, now or in one that was recorded: it is not all a cache had."""
    return not row.get("cached") or "cached_from" in row


def index(compilation: Compilation, rows: list[dict[str, Any]], cold_start: str) -> str:
    """``index.md``: a table of every stage and pass, by piece and range, in order.

    Args:
        compilation: whose.
        rows: its snapshots, passes and code.
        cold_start: how a start is made that finds nothing in any cache.
    """
    lines = [f"# {compilation.name}", ""]
    facts = {
        "function": f"`{compilation.function}`"
        + (f" ({compilation.file}:{compilation.line})" if compilation.file else ""),
        "model": compilation.model,
        "recompile": f"number {compilation.recompile}" if compilation.recompile else None,
        "**failed**": reason_line(compilation.failed),
        "restarted": f"Dynamo gave this attempt up; `{compilation.restarted_as}` is what runs"
        if compilation.restarted_as
        else None,
    }
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    lines += [f"  - because {texts.first_line(reason)}" for reason in compilation.reasons]
    lines += _served(compilation, cold_start)
    lines += _findings(compilation)
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
    heading = None
    for (piece, compile_range, phase), group in _groups(rows, _repeated(compilation)).items():
        folder = _folder(group, compilation.root.folder)
        if piece != heading or heading is None:
            facts = (piece or "the whole graph", compilation.piece_layers.get(piece or ""), folder.partition("/")[0])
            lines += ["", f"## {' · '.join(fact for fact in facts if fact)}"]
            heading = piece
        part = " · ".join(part for part in (texts.range_text(compile_range), phase) if part)
        lines += ["", f"### {part}{f' · {folder}/' if folder else ''}", ""] if part else [""]
        again = _all_as(group)
        lines += [f"All as in {again}."] if again else _table(group, f"{compilation.root.folder}/{folder}")
    return "\n".join(lines) + "\n"


def _served(compilation: Compilation, cold_start: str) -> list[str]:
    """What a cache served: where the graphs were recorded, or why they are not here and how to get them."""
    lines = [
        f"- not compiled now, but read back: {_places(places)}, recorded by {origin}"
        for origin, places in compilation.read_back.items()
    ]
    for reason, places in compilation.missing.items():
        lines += [
            f"- **not here**: the graphs of {_places(places)}. A cache served it, and {reason}; what the cache itself "
            f"holds is here: code, and the last graphs as text. To see all of it, record one start {cold_start}."
        ]
    return lines


def _places(places: list[str]) -> str:
    return texts.some([place or "all of it" for place in places])


def _findings(compilation: Compilation) -> list[str]:
    """What somebody should look at, a line for each kind of it."""
    places: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for finding in compilation.findings:
        places.setdefault((finding["expected"], finding["taken"]), []).append(finding)
    lines = ["", "## Findings", ""] if places else []
    for (expected, taken), found in places.items():
        nodes = texts.some([f"`{name}`" for name in dict.fromkeys(finding["node"] for finding in found)])
        ranges = texts.some([*dict.fromkeys(f"{one['piece']} {texts.range_text(one['range'])}" for one in found)])
        lines.append(
            f"- {found[0]['pass']} took provider **{taken}** where {expected} was expected: {nodes}, in {ranges}"
        )
    return lines


def _folder(rows: list[dict[str, Any]], root: str) -> str:
    """The folder that the files of a group lie in, below the compilation's."""
    places = [
        file["path"].rpartition("/")[0] for row in rows for file in row.get("files", ()) if file["kind"] != "nodes"
    ]
    below = [place.removeprefix(root).strip("/") for place in places if not place.endswith("90.kernels")]
    return below[0] if below else ""


def _compiled_again(compilation: Compilation, rows: list[dict[str, Any]]) -> list[str]:
    """Pieces whose code was generated although an equal piece had it already."""
    repeated = _repeated(compilation)
    again = [row for row in rows if row.get("kind") == "output_code" and row["piece"] in repeated and is_made(row)]
    if not again:
        return []
    lines = ["", "## Compiled although an equal piece was compiled", ""]
    for row in again:
        first = min(compilation.equal_pieces[row["piece"]])
        here, there = (_donated(rows, piece, row["range"]) for piece in (row["piece"], first))
        why = f"; it donates inputs {here or 'none'}, {first} {there or 'none'}" if here != there else ""
        line = f"- {row['piece']} for {texts.range_text(row['range'])}: equal to {first}, with another cache key{why}"
        lines.append(line)
    return lines


def _donated(rows: list[dict[str, Any]], piece: str, compile_range: str) -> list[int]:
    """The inputs that the last graph of a piece and range donates."""
    of_it = [
        row for row in rows if (row["piece"], row["range"]) == (piece, compile_range) and row["event"] == "snapshot"
    ]
    return of_it[-1]["donated_inputs"] if of_it else []


def _equal_pieces(compilation: Compilation) -> dict[str, list[str]]:
    """Piece -> the later pieces that are equal to it, for the first piece of each kind."""
    return {piece: others for piece, others in compilation.equal_pieces.items() if not others or min(others) > piece}


def _piece_rows(rows: list[dict[str, Any]], equal: Mapping[str, list[str]]) -> list[str]:
    layers = {row["piece"]: row["layers"] for row in rows if row.get("stage") == "piece" and "layers" in row}
    return [
        f"| {piece} | {texts.some(blocks(layers.get(piece, [])))} | {texts.some(others) or '—'} |"
        for piece, others in equal.items()
    ]


def _repeated(compilation: Compilation) -> set[str]:
    """Pieces that repeat an earlier one."""
    return {piece for piece, others in compilation.equal_pieces.items() if others and min(others) < piece}


def _groups(rows: list[dict[str, Any]], repeated: set[str]) -> dict[tuple[Any, Any, Any], list[dict[str, Any]]]:
    """Rows by piece, range and phase, pieces in order; one that repeats another is left to the table of pieces."""
    groups: dict[tuple[Any, Any, Any], list[dict[str, Any]]] = {}
    for row in rows:
        if row["piece"] in repeated:
            continue
        phase = row["phase"] if row["phase"] in ("forward", "backward") else None
        groups.setdefault((row["piece"], row["range"], phase), []).append(row)
    return dict(sorted(groups.items(), key=lambda group: group[0][0] or ""))


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
    own = {place for place in places if "/range_" in place} or places  # what a range has from its piece aside
    return own.pop() if len(own) == 1 else None


def _table(rows: list[dict[str, Any]], folder: str) -> list[str]:
    """Rows as a Markdown table whose columns stand under each other in a pager too."""
    cells = [("stage", "nodes", "change", "ms", "file")]
    idle: list[dict[str, Any]] = []
    kernels: list[dict[str, Any]] = []
    counts = {row["selector"]: row["counts"] for row in rows if row["event"] == "pass"}
    for row in rows:
        if row["event"] == "pass":
            idle += [] if row["changed"] else [row]
            continue
        if row.get("kind") == "kernel":
            kernels.append(row)
            continue
        cells += _idle_cells(idle)
        idle = []
        cells.append(_cells(row, folder.rstrip("/"), counts.get(row["selector"], {})))
    cells += _idle_cells(idle)
    if kernels:
        nodes = sum(len(names) for row in kernels for names in row["kernels"].values())
        here = sum(bool(row["files"]) for row in kernels)
        places = [
            f"{here} in 90.kernels/" if here else "",
            f"{len(kernels) - here} elsewhere" if here < len(kernels) else "",
        ]
        count = f"{len(kernels)}, made of {nodes} nodes" if nodes else f"{len(kernels)}"
        cells.append(("kernels", "", count, "", ", ".join(place for place in places if place)))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    right = (1, 3)
    columns = [
        [line[column].rjust(width) if column in right else line[column].ljust(width) for line in cells]
        for column, width in enumerate(widths)
    ]
    lines = [f"| {' | '.join(line)} |" for line in zip(*columns, strict=True)]
    rule = "|".join("-" * (width + 1) + (":" if column in right else "-") for column, width in enumerate(widths))
    return [lines[0], f"|{rule}|", *lines[1:]]


def _idle_cells(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    if not rows:
        return []
    return [(f"*{len(rows)} pass{'es' if len(rows) > 1 else ''} changed nothing*", "", "", "", "")]


def _cells(row: dict[str, Any], folder: str, counts: Mapping[str, int]) -> tuple[str, str, str, str, str]:
    scope = row["scope"]
    name = row["selector"].removeprefix(scope).lstrip("/")
    place = next((file["path"].removeprefix(f"{folder}/") for file in row["files"] if file["kind"] != "nodes"), "")
    if not place and row["same_as"]:
        place = f"same as {row['same_as'].removeprefix(f'{scope}/').removeprefix(scope.partition('/')[0] + '/')}"
    if row["event"] == "code":
        return (f"{name}{'' if is_made(row) else ' (from the cache)'}", "", "", "", place)
    if row["files"]:
        place += " + .layers.txt"
    change = texts.delta_text(row["ops_delta"], 4) or ("rewritten, same op counts" if row["changed"] else "")
    change = " · ".join(part for part in (change, texts.counts_text(counts)) if part)
    if row["stage"] == "after_split":
        change = "the pieces and their order"
    return (name, str(row["nodes"]), change, "" if row["ms"] is None else f"{row['ms']:.1f}", place)
