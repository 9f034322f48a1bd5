"""Texts of a dump, which may hold anything, cut to what a page can bear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 2000
"""Characters of a text that is shown in a line."""
NAME = 200
"""Characters of a name, which may stand in the lines of many nodes."""


def cut(text: str, most: int = LONGEST) -> str:
    """A text, or its beginning and how long it is."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text):,} characters)".replace(",", "\N{NARROW NO-BREAK SPACE}")


def cut_or_none(text: str | None, most: int = LONGEST) -> str | None:
    """The same for a text that may be missing."""
    return None if text is None else cut(text, most)


def bounded(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """A node table whose names are cut, in the graphs inside it too; the same object when none is long.

    What is written of a node holds the names of others: one name of a megabyte would be written a thousand times.

    Args:
        table: a node table as plain values.
    """
    nodes = table.get("nodes") or ()
    layers, sources = table.get("layers") or (), table.get("sources") or ()
    inside = table.get("graphs") or {}
    bounded_inside = {name: bounded(inner) for name, inner in inside.items()}
    is_long = (
        any(bounded_inside[name] is not inner for name, inner in inside.items())
        or any(len(node["name"]) > NAME or len(node.get("input") or "") > NAME for node in nodes)
        or any(len(layer) > NAME for path in layers for layer in path)
        or any(len(source.get("file") or "") > NAME for source in sources)
    )
    if not is_long:
        return table
    return {
        **table,
        "nodes": [_bounded(node, ("name", "input")) for node in nodes],
        "layers": [[_layer(layer) for layer in path] for path in layers],
        "sources": [_bounded(source, ("file",)) for source in sources],
        "graphs": bounded_inside,
    }


def _bounded(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: cut(value, NAME) if key in names and value is not None else value for key, value in values.items()}


def _layer(layer: str) -> str:
    fqn, separator, cls = layer.rpartition(": ")
    return f"{cut(fqn, NAME)}{separator}{cut(cls, NAME)}"
