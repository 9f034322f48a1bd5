"""Sizes of two graphs made comparable: one graph's symbols written as what they are in the other.

Two compilations name their symbols differently (`s72`, `s5`), and one that is compiled for a single size has numbers
where the other has symbols. What a symbol of one graph is in the other is read off the inputs that they share.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

from cutaway.dump.schema import Size
from cutaway.record.fingerprint import ordered

_LONGEST = 2000  # a dump is untrusted: no parsing of what no compiler would have made
_LARGEST = 2**64


class Sizes:
    """Sizes of one graph as they are written in another.

    Args:
        known: symbol -> what it is there, a number or an expression.
    """

    def __init__(self, known: Mapping[str, Size]) -> None:
        self.known = dict(known)
        self._texts: dict[str, Size] = {}

    def of(self, size: Size) -> Size:
        """A size in the terms of the other graph; a number when all its symbols are numbers there."""
        if isinstance(size, int):
            return size
        found = self._texts.get(size)
        if found is None:
            found = self._texts[size] = self._written(size)
        return found

    def _written(self, text: str) -> Size:
        if text.isidentifier():
            return self.known.get(text, text)
        if len(text) > _LONGEST:
            return text
        try:
            with warnings.catch_warnings(action="ignore"):  # of what is no Python that anybody wrote
                tree = ast.parse(text, mode="eval").body
            number = _number(tree, self.known)
            return number if number is not None else ordered(ast.unparse(_Renamed(self.known).visit(tree)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return text


def infer(pairs: Iterable[tuple[Size, Size]], before: Iterable[str], after: Iterable[str]) -> tuple[Sizes, Sizes]:
    """What the symbols of two graphs are in each other.

    Args:
        pairs: sizes that stand at the same places of inputs that the graphs share.
        before, after: the symbols of each graph.

    Returns:
        The sizes of the first graph in terms of the second, and those of the second (where only it has a symbol).
    """
    symbols, others = set(before), set(after)
    votes: Counter[tuple[Size, Size]] = Counter()
    for left, right in pairs:
        if left in symbols or right in others:
            votes[left, right] += 1
    here: dict[str, Size] = {}
    there: dict[str, Size] = {}
    for (left, right), _ in sorted(votes.items(), key=lambda item: (-item[1], str(item[0]))):
        if isinstance(left, str) and left in symbols:
            here.setdefault(left, right)
        elif isinstance(right, str):
            there.setdefault(right, left)
    return Sizes(here), Sizes(there)


class _Renamed(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, Size]) -> None:
        self.known = known

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.known.get(node.id)
        if value is None:
            return node
        return ast.Constant(value) if isinstance(value, int) else ast.parse(value, mode="eval").body


def _number(tree: ast.expr, known: Mapping[str, Size]) -> int | None:
    """The value of an expression; None when it has symbols left, or something else in it."""
    if isinstance(tree, ast.Constant):
        return tree.value if isinstance(tree.value, int) else None
    if isinstance(tree, ast.Name):
        value = known.get(tree.id)
        return value if isinstance(value, int) else None
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        value = _number(tree.operand, known)
        return None if value is None else -value
    if isinstance(tree, ast.BinOp):
        return _computed(type(tree.op).__name__, [_number(tree.left, known), _number(tree.right, known)])
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
        return _computed(tree.func.id, [_number(each, known) for each in tree.args])
    return None


def _computed(name: str, values: list[int | None]) -> int | None:
    numbers = [value for value in values if value is not None]
    if len(numbers) != len(values) or not numbers:
        return None
    if name in ("Max", "Min"):
        return max(numbers) if name == "Max" else min(numbers)
    if len(numbers) != 2:
        return None
    left, right = numbers
    if name in ("Mod", "FloorDiv"):
        return None if right == 0 else left // right if name == "FloorDiv" else left % right
    value = {"Add": left + right, "Sub": left - right, "Mult": left * right}.get(name)
    return value if value is not None and abs(value) < _LARGEST else None
