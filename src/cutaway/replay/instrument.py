"""A raw file made to show the value of each of its nodes.

A raw file has one node a line, `name = operator(arguments);  argument = None`, and bears the graph's node names. So the
lines of every `forward` are rewritten, as a syntax tree: a call goes through a watcher, any other value is shown to it.

    add = torch.ops.aten.add.Tensor(x, y);  x = None
    add = __cutaway__.call('add', torch.ops.aten.add.Tensor, x, y); __cutaway__.drop('x')
"""

from __future__ import annotations

import ast
import linecache
import operator
from typing import Any, Protocol

from cutaway.replay.writes import Write, with_writes

WATCHER = "__cutaway__"
OPERATOR = "__cutaway_operator__"


class Watcher(Protocol):
    """What sees the nodes."""

    def call(self, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A node calls a function: call it, and return what it returns."""
        ...

    def value(self, name: str, value: Any, /) -> Any:
        """A node has this value; return it."""
        ...

    def drop(self, *names: str) -> None:
        """Nobody reads these nodes any more."""
        ...


def load(text: str, title: str, watcher: Watcher) -> dict[str, Any]:
    """Execute a raw file with every `forward` in it watched; what it defines.

    Raises whatever the file raises: it is code, and is executed here.
    """
    linecache.cache[title] = (len(text), None, text.splitlines(keepends=True), title)  # for tracebacks
    tree = _Forwards().visit(ast.parse(text, title))
    names: dict[str, Any] = {"__name__": "cutaway_replay", "__file__": title, WATCHER: watcher, OPERATOR: operator}
    exec(compile(ast.fix_missing_locations(tree), title, "exec"), names)
    return names


class _Forwards(ast.NodeTransformer):
    """Rewrites the lines of every method called `forward`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        if node.name != "forward":
            return node
        inputs = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        node.body = [line for statement in with_writes(node.body) for line in _watched(statement, inputs)]
        return node


def _watched(statement: ast.stmt | Write, inputs: set[str]) -> list[ast.stmt]:
    if isinstance(statement, Write):
        return _written(statement)
    if isinstance(statement, ast.Assign):
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        if isinstance(statement.value, ast.Constant) and statement.value.value is None:
            drop = _of_watcher("drop", [ast.Constant(name) for name in names], statement)
            return [statement, ast.copy_location(ast.Expr(drop), statement)]
        if len(names) == len(statement.targets) == 1:
            statement.value = _shown(names[0], statement.value, inputs)
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        shown = _shown(statement.target.id, statement.value, inputs)
        plain = ast.Assign([ast.Name(statement.target.id, ast.Store())], shown)  # the annotation may name anything
        return [ast.copy_location(plain, statement)]
    return [statement]


def _written(write: Write) -> list[ast.stmt]:
    function = ast.Attribute(ast.Name(OPERATOR, ast.Load()), write.operator, ast.Load())
    call = _of_watcher("call", [ast.Constant(write.name), function, *write.args], write.statement)
    if isinstance(write.statement, ast.AugAssign):  # what cannot be written to is replaced
        done: ast.stmt = ast.Assign([write.statement.target], call)
    else:
        done = ast.Expr(call)
    return [ast.copy_location(done, write.statement), write.naming]


def _shown(name: str, value: ast.expr, inputs: set[str]) -> ast.expr:
    if isinstance(value, ast.Name) and value.id in inputs:
        return value  # an input under the name of its node
    if isinstance(value, ast.Call):
        return _of_watcher("call", [ast.Constant(name), value.func, *value.args], value, value.keywords)
    return _of_watcher("value", [ast.Constant(name), value], value)


def _of_watcher(
    method: str, args: list[ast.expr], where: ast.AST, keywords: list[ast.keyword] | None = None
) -> ast.Call:
    watcher = ast.Attribute(ast.Name(WATCHER, ast.Load()), method, ast.Load())
    return ast.copy_location(ast.Call(watcher, args, keywords or []), where)
