"""Stitching code that passes two values of a piece the wrong way round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from _decoder import decoder, show

from cutaway.compiler import backend


def swapped(code: str) -> str:
    """The last piece's activations exchanged: what the layer computed so far, and what it skips to."""
    lines = code.splitlines()
    at = next(i for i, line in enumerate(lines) if "= piece_04(" in line or "return piece_04(" in line)
    head, _, tail = lines[at].partition("piece_04(")
    arguments = tail.rstrip(")").split(", ")
    arguments[3], arguments[4] = arguments[4], arguments[3]
    lines[at] = f"{head}piece_04({', '.join(arguments)})"
    return "\n".join(lines) + "\n"


def plant() -> None:
    """As a bug in what writes the stitching code would have it."""
    original = backend.assemble

    def assemble(plan: Any, *arguments: Any, **options: Any) -> Any:
        return original(replace(plan, code=swapped(plan.code)), *arguments, **options)

    backend.assemble = assemble


if __name__ == "__main__":
    plant()
    show(decoder())
