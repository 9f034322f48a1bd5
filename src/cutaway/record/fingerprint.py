"""Structural hash of a graph: equal for graphs that are equal up to names.

It is taken over the node table (docs/dump-format.md), not over the fx graph, so that anyone can check a dump
without torch. Names of nodes, inputs and symbols, layers, sources and origins do not count; operators, the order
of nodes, arguments, and the dtypes, sizes, strides and devices of inputs and constants do. It serves to
recognise a graph, not as a cache key: it knows nothing of configuration, aliasing or the values of weights.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

_WORD = re.compile(r"[A-Za-z_]\w*")


def fingerprint(table: dict[str, Any]) -> str:
    """Hex digest (32 characters) of a node table; pure function of its JSON form."""
    return _Canonical(table.get("symbols") or {}).digest(table)


class _Canonical:
    """Renames symbols by first appearance and feeds one line a node to the hash."""

    def __init__(self, symbols: dict[str, Any]) -> None:
        self.symbols = symbols
        self.renamed: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def digest(self, table: dict[str, Any]) -> str:
        lines = [self.line(row, table) for row in table["nodes"]]
        return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()

    def line(self, row: dict[str, Any], table: dict[str, Any]) -> str:
        op = row["op"]
        if op == "placeholder":
            return "P" + repr(self.value(row))
        if op == "output":
            return "O" + repr(self.symbolic(row.get("args")))
        if op == "get_attr" and row["target"] in (table.get("graphs") or {}):
            return "G" + self.digest(table["graphs"][row["target"]])
        if op == "get_attr":
            held = row.get("constant") or {}
            return "A" + repr([self.value(held), held.get("digest"), held.get("repr")])
        kwargs = row.get("kwargs") or {}
        call = [op, row["target"], self.symbolic(row.get("args")), self.symbolic(sorted(kwargs.items()))]
        return "C" + repr(call)

    def value(self, row: dict[str, Any]) -> list[Any]:
        keys = ("dtype", "shape", "stride", "offset", "device", "value", "requires_grad")
        return [
            self.sizes(row.get(key)) if key in ("shape", "stride", "offset", "value") else row.get(key) for key in keys
        ]

    def sizes(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.rename(value)
        return [self.sizes(size) for size in value] if isinstance(value, list) else value

    def symbolic(self, value: Any) -> Any:
        """Arguments with the symbols in ``{"sym": ...}`` renamed; everything else as it is."""
        if isinstance(value, dict):
            if "sym" in value:
                return {"sym": self.rename(value["sym"])}
            if "node" in value:
                return value
            return {key: self.symbolic(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.symbolic(part) for part in value]
        return value

    def rename(self, text: str) -> str:
        known = self.texts.get(text)
        if known is None:
            known = self.texts[text] = _WORD.sub(lambda match: self.symbol(match.group()), text)
        return known

    def symbol(self, name: str) -> str:
        if name not in self.symbols:
            return name
        if name not in self.renamed:
            facts = self.symbols[name] or {}
            self.renamed[name] = f"z{len(self.renamed)}[{facts.get('min')},{facts.get('max')}]"
        return self.renamed[name]
