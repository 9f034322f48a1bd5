"""Conditions on sizes: out of sympy's spelling into Python's, and what they leave of a size."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

LARGEST = 8192
"""Sizes up to this one are tried, to tell what a condition leaves of them."""
_MOST_SHOWN = 4

_COMPARISONS: dict[str, ast.cmpop] = {
    "Eq": ast.Eq(), "Ne": ast.NotEq(), "Lt": ast.Lt(), "Le": ast.LtE(), "Gt": ast.Gt(), "Ge": ast.GtE(),
}  # fmt: skip
_OPERATORS: dict[str, ast.operator] = {
    "Mod": ast.Mod(), "PythonMod": ast.Mod(), "FloorDiv": ast.FloorDiv(), "CleanDiv": ast.FloorDiv(),
}  # fmt: skip
_ARITHMETIC: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}  # fmt: skip
_RELATIONS: dict[type, Callable[[int, int], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


class _Spelling(ast.NodeTransformer):
    """``Eq(Mod(s77, 8), 0)`` becomes ``s77 % 8 == 0``."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _COMPARISONS and len(node.args) == 2:
            return ast.Compare(node.args[0], [_COMPARISONS[name]], [node.args[1]])
        if name in _OPERATORS and len(node.args) == 2:
            return ast.BinOp(node.args[0], _OPERATORS[name], node.args[1])
        if name == "Not" and len(node.args) == 1:
            return ast.UnaryOp(ast.Not(), node.args[0])
        return node


def as_python(condition: str) -> str:
    """A condition as Python spells it; as it is when it is none."""
    try:
        tree = _Spelling().visit(ast.parse(condition.strip(), mode="eval"))
        return ast.unparse(ast.fix_missing_locations(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return condition.strip()


def names_in(condition: str) -> list[str]:
    """The symbols of a condition, in order."""
    return list(dict.fromkeys(re.findall(r"\b[a-z]+\d+\b", condition)))


_CANNOT = (SyntaxError, ValueError, KeyError, ZeroDivisionError, OverflowError, RecursionError)


def value_of(expression: str, values: Mapping[str, int]) -> int | None:
    """The value of an expression of sizes; None when it cannot be told. Only arithmetic is evaluated."""
    try:
        return int(_value(_parsed(expression), values))
    except _CANNOT:
        return None


def holds(condition: str, values: Mapping[str, int]) -> bool | None:
    """Whether a condition holds; None when it cannot be told. Only comparisons and arithmetic are evaluated."""
    try:
        return bool(_value(_parsed(condition), values))
    except _CANNOT:
        return None


def _parsed(text: str) -> ast.expr:
    return ast.parse(as_python(text), mode="eval").body


def _value(node: ast.expr, values: Mapping[str, int]) -> int | bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return not inner if isinstance(node.op, ast.Not) else -inner
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        relation = _RELATIONS[type(node.ops[0])]
        return relation(_value(node.left, values), _value(node.comparators[0], values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Max", "Min"):
        return (max if node.func.id == "Max" else min)(_value(arg, values) for arg in node.args)
    raise ValueError(ast.unparse(node))


def left_of(condition: str, symbol: str) -> str:
    """What a condition on one size leaves of it, in words; empty when that cannot be told."""
    try:
        tree = _parsed(condition)
        return _in_words([size for size in range(1, LARGEST + 1) if _value(tree, {symbol: size})])
    except _CANNOT:
        return ""


def _in_words(sizes: list[int]) -> str:
    if not sizes:
        return "no size is left"
    if len(sizes) == LARGEST:
        return "every size"
    if len(sizes) <= _MOST_SHOWN:
        return f"only {' and '.join(map(str, sizes))}"
    if sizes[-1] - sizes[0] + 1 == len(sizes):
        if sizes[0] == 1:
            return f"at most {sizes[-1]}"
        return f"at least {sizes[0]}" if sizes[-1] == LARGEST else f"{sizes[0]} to {sizes[-1]}"
    missing = sorted(set(range(1, LARGEST + 1)) - set(sizes))
    if len(missing) <= _MOST_SHOWN:
        return f"all but {' and '.join(map(str, missing))}"
    if _is_even_spaced(sizes):
        return f"only multiples of {sizes[0]}" if sizes[1] == 2 * sizes[0] else f"one in {sizes[1] - sizes[0]}"
    if _is_even_spaced(missing) and missing[1] == 2 * missing[0]:
        return f"no multiples of {missing[0]}"
    return f"{len(sizes)} of the sizes up to {LARGEST}"


def _is_even_spaced(sizes: list[int]) -> bool:
    step = sizes[1] - sizes[0]
    return sizes == list(range(sizes[0], sizes[-1] + 1, step)) and sizes[-1] + step > LARGEST
