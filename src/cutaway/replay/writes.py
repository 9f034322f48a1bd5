"""Lines of a raw file that write: two statements that are one node.

x[slice(None, 2, None)] = y;  setitem = x
x += y;  iadd = x
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_IN_PLACE: dict[type[ast.operator], str] = {
    ast.Add: "iadd",
    ast.BitAnd: "iand",
    ast.BitOr: "ior",
    ast.BitXor: "ixor",
    ast.FloorDiv: "ifloordiv",
    ast.LShift: "ilshift",
    ast.MatMult: "imatmul",
    ast.Mod: "imod",
    ast.Mult: "imul",
    ast.Pow: "ipow",
    ast.RShift: "irshift",
    ast.Sub: "isub",
    ast.Div: "itruediv",
}


@dataclass(frozen=True)
class Write:
    """A node that writes to what it is given.

    Attributes:
        name: the node's.
        operator: what it calls, by its name in Python's `operator`.
        args: of that; the first is written to.
        statement: the statement that writes; `naming` gives its result the node's name.
    """

    name: str
    operator: str
    args: tuple[ast.expr, ...]
    statement: ast.stmt
    naming: ast.stmt


def with_writes(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt | Write]:
    """The statements of a `forward`, those that are one node as one."""
    waiting = list(reversed(statements))
    while waiting:
        statement = waiting.pop()
        call = _call(statement)
        name = _name(waiting[-1], call[1][0]) if call is not None and waiting else None
        if call is None or name is None:
            yield statement
        else:
            yield Write(name, *call, statement, waiting.pop())


def _call(statement: ast.stmt) -> tuple[str, tuple[ast.expr, ...]] | None:
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        target = ast.copy_location(ast.Name(statement.target.id, ast.Load()), statement.target)
        return _IN_PLACE[type(statement.op)], (target, statement.value)
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
        target = statement.targets[0]
        if len(statement.targets) == 1 and not any(isinstance(node, ast.Slice) for node in ast.walk(target.slice)):
            return "setitem", (target.value, target.slice, statement.value)
    return None


def _name(statement: ast.stmt, written: ast.expr) -> str | None:
    """The name that the next statement gives to what was written to."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    target = statement.target if isinstance(statement, ast.AnnAssign) else target
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    same = isinstance(value, ast.Name) and isinstance(written, ast.Name) and value.id == written.id
    return target.id if same and isinstance(target, ast.Name) else None
