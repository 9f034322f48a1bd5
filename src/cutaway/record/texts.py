"""The text of a dump's files: headers, titles, node tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cutaway.record.compilation import Compilation
from cutaway.record.layers import render_layers
from cutaway.record.layers.words import blocks, short_name
from cutaway.record.runnable import sizes_of
from cutaway.stages import stage

GRAPH_TEXTS = {"post_grad_text": "post_grad", "aot_graph_text": "aot_forward"}
"""Kinds of text that stand for a graph, where a cache has nothing else of it -> the stage of that graph."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def as_json(value: Any) -> str:
    """Indented JSON for a person."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"


def node_table(fingerprint: str, table: Mapping[str, Any], schema: int) -> str:
    """A node table as JSON with one node a line, so that grep finds nodes."""
    head = {"schema": schema, "fingerprint": fingerprint, **{k: v for k, v in table.items() if k != "nodes"}}
    lines = ",\n".join(map(_encode, table["nodes"]))
    return f'{_encode(head)[:-1]},"nodes":[\n{lines}\n]}}\n'


def first_line(text: str | None) -> str | None:
    """The first line that says something."""
    return next((line.strip() for line in (text or "").splitlines() if line.strip()), None)


def some(names: list[str], limit: int = 6) -> str:
    """Names as a list; a long one is cut in the middle and counted."""
    if len(names) <= limit:
        return ", ".join(names)
    half = limit // 2
    return f"{', '.join(names[:half])}, … {', '.join(names[-half:])} ({len(names)})"


def header(compilation: Compilation, facts: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """What a file says of itself in its first lines (without the comment sign)."""
    what = stage(facts["stage"])
    lines = [f"{facts['selector']} — {what.title}", what.sentence, ""]
    rows = {
        "model": compilation.model,
        "function": _function(compilation),
        "pass": facts["pass"],
        "piece": _piece(compilation, facts["piece"]),
        "range": range_text(facts["range"]),
        "phase": facts["phase"],
        "layers": some(blocks(facts["layers"])),
        "donated inputs": ", ".join(map(str, facts["donated_inputs"])),
        "providers": _providers(facts["providers"], {row["name"]: short_name(row["target"]) for row in table["nodes"]}),
        "graph": f"{facts['graph']} ({facts['nodes']} nodes)",
        "change": delta_text(facts["ops_delta"]),
    }
    lines += [f"{name + ':':<16}{value}" for name, value in rows.items() if value]
    return lines


def code_header(compilation: Compilation, facts: Mapping[str, Any], file: str) -> str:
    """The first lines of a file of generated code: whose it is, in the comments of its language."""
    comment = "//" if file.endswith((".cpp", ".cu", ".metal")) else "#"
    kind: str = facts["kind"]
    what = stage(GRAPH_TEXTS.get(kind, kind))
    rows = {
        "model": compilation.model,
        "piece": _piece(compilation, facts["piece"]),
        "range": range_text(facts["range"]),
        "phase": facts["phase"],
        "layers": compilation.piece_layers.get(facts["piece"] or ""),
        "made of": some(sorted({node for nodes in facts["kernels"].values() for node in nodes}))
        if facts["kind"] == "kernel"
        else None,
        "from a cache": "yes" if facts["cached"] else None,
    }
    lines = [f"{facts['selector']} — {what.title}", *(f"{k + ':':<16}{v}" for k, v in rows.items() if v)]
    return "".join(f"{comment} {line}\n" for line in lines) + "\n"


def code_body(text: str) -> str:
    """A file of generated code without the lines that :func:`code_header` put before it."""
    return text.partition("\n\n")[2]


def _function(compilation: Compilation) -> str:
    where = f" ({compilation.file}:{compilation.line})" if compilation.file else ""
    return f"{compilation.function}{where}"


def _piece(compilation: Compilation, piece: str | None) -> str | None:
    if piece is None:
        return None
    equal = compilation.equal_pieces.get(piece, [])
    return f"{piece}; the same graph: {some(equal)}" if equal else piece


def range_text(name: str | None) -> str | None:
    """``1_4096`` in words."""
    if name is None:
        return None
    start, _, end = name.partition("_")
    return f"the single size {start}" if start == end else f"sizes {start} to {end}"


def _providers(providers: Mapping[str, str], ops: Mapping[str, str]) -> str:
    """``rms_norm: native ×4``: by operator where the node is in the graph, else by its name without number."""
    counts: dict[str, int] = {}
    for name, provider in providers.items():
        key = f"{ops.get(name) or re.sub(r'_[0-9]+$', '', name)}: {provider}"
        counts[key] = counts.get(key, 0) + 1
    return ", ".join(f"{key} ×{count}" if count > 1 else key for key, count in counts.items())


def delta_text(delta: Mapping[str, int], limit: int = 8) -> str:
    """``rms_norm −2, mul +4``: how often each operator was added or removed."""
    shown = [f"{name} {'+' if change > 0 else '−'}{abs(change)}" for name, change in list(delta.items())[:limit]]
    return ", ".join(shown) + (f" and {len(delta) - limit} more" if len(delta) > limit else "")


def counts_text(counts: Mapping[str, int], limit: int = 4) -> str:
    """``3 matches, 2 hits``: what a pass counted, without what never happened."""
    shown = [f"{number} {name}" for name, number in counts.items() if number]
    return ", ".join(shown[:limit]) + (f" and {len(shown) - limit} more" if len(shown) > limit else "")


def title(compilation: Compilation, facts: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """The first line of a structured trace."""
    selector = facts["selector"].partition("/")[2] or facts["selector"]
    count = f"{facts['nodes']:,}".replace(",", " ")
    parts = [selector, compilation.model, compilation.name, f"{len(blocks(facts['layers']))} layers", f"{count} nodes"]
    sizes = sizes_of(table["symbols"])
    return " · ".join(part for part in (*parts, f"sizes: {sizes}" if sizes else None) if part)


def layers(table: dict[str, Any], title: str, header: list[str], providers: Mapping[str, str]) -> str:
    """The structured trace of a graph (see ``cutaway.record.layers``)."""
    return render_layers(table, title=title, header=header[1:], providers=providers)
