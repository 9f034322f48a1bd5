"""Structural hash of a graph: equal for graphs that are equal up to names.

It is taken over the node table (docs/dump-format.md), not over the fx graph, so that anyone can check a dump
without torch. Names of nodes, inputs and symbols, layers, sources and origins do not count; operators, the order
of nodes, arguments, and the dtypes, sizes, strides and devices of inputs and constants do. It serves to
recognise a graph, not as a cache key: it knows nothing of configuration, aliasing or the values of weights.
"""

from __future__ import annotations

import ast
import re
from hashlib import blake2b
from typing import Any

_WORD = re.compile(r"[A-Za-z_]\w*")
_SYMMETRIC = ("Max", "Min", "Eq", "Ne")
_LONGEST = 2000  # a dump is untrusted: no parsing of what no compiler would have made


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
            words = _WORD.findall(text)
            known = _WORD.sub(lambda match: self.symbol(match.group()), text)
            if len(words) > 1 and len(self.symbols.keys() & words) > 1:
                known = ordered(known)
            self.texts[text] = known
        return known

    def symbol(self, name: str) -> str:
        if name not in self.symbols:
            return name
        if name not in self.renamed:
            facts = self.symbols[name] or {}
            self.renamed[name] = f"z{len(self.renamed)}[{facts.get('min')},{facts.get('max')}]"
        return self.renamed[name]


def ordered(text: str) -> str:
    """An expression with the operands of sums and products in order: they are printed in that of the symbols' names."""
    if len(text) > _LONGEST:
        return text
    try:
        return _ordered(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def _ordered(tree: ast.expr) -> str:
    minus, text = _signed(tree)
    return f"-{text}" if minus else text


def _signed(tree: ast.expr) -> tuple[bool, str]:
    """Whether there is a minus before it, and the rest."""
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        minus, text = _signed(tree.operand)
        return not minus, text
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Add, ast.Sub)):
        return False, f"({' '.join(sorted(('-' if minus else '+') + text for minus, text in _terms(tree)))})"
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        factors = _factors(tree)
        minus = sum(minus for minus, _ in factors) % 2 == 1
        return minus, f"({'*'.join(sorted(text for _, text in factors))})"
    if isinstance(tree, ast.BinOp):
        return False, f"({_ordered(tree.left)} {type(tree.op).__name__} {_ordered(tree.right)})"
    if isinstance(tree, ast.Call):
        parts = [_ordered(part) for part in tree.args]
        name = ast.unparse(tree.func)
        return False, f"{name}({', '.join(sorted(parts) if name in _SYMMETRIC else parts)})"
    return False, ast.unparse(tree)


def _terms(tree: ast.expr, minus: bool = False) -> list[tuple[bool, str]]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Add, ast.Sub)):
        less = isinstance(tree.op, ast.Sub)
        return [*_terms(tree.left, minus), *_terms(tree.right, minus != less)]
    negative, text = _signed(tree)
    return [(negative != minus, text)]


def _factors(tree: ast.expr) -> list[tuple[bool, str]]:
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return [*_factors(tree.left), *_factors(tree.right)]
    return [_signed(tree)]
