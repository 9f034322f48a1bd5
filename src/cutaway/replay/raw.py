"""A raw file read as text: its nodes, its inputs, and what it says of itself. Nothing of it is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from cutaway.errors import ReplayError
from cutaway.replay.writes import Write, with_writes

_CANNOT = "# CANNOT RUN: "
_ZEROS = "# Zeros stand in for "


@dataclass(frozen=True)
class Line:
    """A node as the raw file has it.

    Attributes:
        text: the line, without what comes after the node.
        reads: names of the nodes and inputs that it reads.
        number: of the line in the file, from 1 on.
    """

    text: str
    reads: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class RawGraph:
    """What a raw file holds.

    Attributes:
        text: all of it.
        title: how tracebacks call it.
        sizes: the symbols that it takes -> the sizes that they had while tracing.
        inputs: names of its inputs, in order.
        made: those that are made by an expression of their own, such as the address of a packed weight: a recorded one
            would mean nothing in another process.
        lines: name of each node of the graph itself, in order -> its line.
        results: what it returns, flattened: names, or None for what is no node.
    """

    text: str = field(repr=False)
    title: str
    sizes: dict[str, int]
    inputs: tuple[str, ...]
    made: frozenset[str]
    lines: dict[str, Line] = field(repr=False)
    results: tuple[str | None, ...]

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Why it cannot be run, as its header says."""
        return self._said(_CANNOT)

    @cached_property
    def stand_ins(self) -> tuple[str, ...]:
        """Operators that need a running engine: zeros stand in for what they compute."""
        return tuple(text.removesuffix(": it runs only inside the engine.") for text in self._said(_ZEROS))

    def _said(self, prefix: str) -> tuple[str, ...]:
        header = self.text.split("\nimport ", 1)[0].splitlines()
        return tuple(line.removeprefix(prefix) for line in header if line.startswith(prefix))

    def before(self, name: str) -> Iterator[str]:
        """What a node reads, as far as it is a node."""
        line = self.lines.get(name)
        yield from (read for read in (line.reads if line else ()) if read in self.lines)


def read_raw(text: str, title: str) -> RawGraph:
    """Read a raw file.

    Raises:
        ReplayError: it is no raw file.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_raw(title, f"it is no Python: {error}") from error
    forward = _find(tree, "Graph", "forward")
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    maker = next((node for node in functions if node.name == "example_inputs"), None)
    if forward is None or maker is None:
        raise _not_raw(title, "it has no class Graph with a forward, and no example_inputs")
    sizes = {
        argument.arg: default.value
        for argument, default in zip(maker.args.args, maker.args.defaults, strict=False)
        if isinstance(default, ast.Constant) and isinstance(default.value, int)
    }
    names, made = _inputs(text, maker, forward)
    lines, results = _nodes(text, forward)
    return RawGraph(text, title, sizes, names, made, lines, results)


def _not_raw(title: str, why: str) -> ReplayError:
    cure = "give a file that a dump announces as `raw` (they end in .py, `cutaway ls` lists them), or a copy of one"
    return ReplayError(f"{title!r} is no raw graph", why, cure)


def _find(tree: ast.Module, cls: str, method: str) -> ast.FunctionDef | None:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls]
    methods = [node for each in classes for node in each.body if isinstance(node, ast.FunctionDef)]
    return next((node for node in methods if node.name == method), None)


def _inputs(text: str, maker: ast.FunctionDef, forward: ast.FunctionDef) -> tuple[tuple[str, ...], frozenset[str]]:
    """The names of the inputs, and of those that are made by an expression of their own."""
    returned = next((node.value for node in maker.body if isinstance(node, ast.Return)), None)
    made = returned.elts if isinstance(returned, ast.List) else []
    names = [argument.arg for argument in forward.args.args[1:]]
    for statement in forward.body:  # where the node is called otherwise than the argument
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name):
            (target, *_), source = statement.targets, statement.value.id
            if isinstance(target, ast.Name) and source in names:
                names[names.index(source)] = target.id
    own = [name for name, value in zip(names, made, strict=False) if _is_own_expression(value)]
    return tuple(names), frozenset(own)


def _is_own_expression(value: ast.expr) -> bool:
    """Whether an input is neither a tensor of some layout nor a number."""
    is_plain = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "tensor"
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    return bool(calls) and not is_plain


def _nodes(text: str, forward: ast.FunctionDef) -> tuple[dict[str, Line], tuple[str | None, ...]]:
    rows = text.splitlines()
    known = {argument.arg for argument in forward.args.args}
    lines: dict[str, Line] = {}
    results: tuple[str | None, ...] = ()
    for statement in with_writes(forward.body):
        if isinstance(statement, Write):
            lines[statement.name] = Line(
                _source(rows, statement.statement), _reads(*statement.args), statement.statement.lineno
            )
            continue
        if isinstance(statement, ast.Return) and statement.value is not None:
            results = tuple(_results(statement.value))
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        target = statement.target if isinstance(statement, ast.AnnAssign) else target
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        if not isinstance(target, ast.Name) or value is None or isinstance(value, ast.Constant):
            continue
        if isinstance(value, ast.Name) and value.id in known:
            continue  # an input under the name of its node
        lines[target.id] = Line(_source(rows, statement), _reads(value), statement.lineno)
    return lines, results


def _reads(*values: ast.expr) -> tuple[str, ...]:
    names = (node.id for value in values for node in ast.walk(value) if isinstance(node, ast.Name))
    return tuple(dict.fromkeys(names))


def _source(rows: list[str], statement: ast.stmt) -> str:
    """A statement's text, of one line."""
    row = rows[statement.lineno - 1].encode()
    end = statement.end_col_offset if statement.end_lineno == statement.lineno else None
    return row[statement.col_offset : end].decode("utf-8", "replace")


def _results(value: ast.expr) -> Iterator[str | None]:
    """What is returned, flattened as torch flattens it."""
    if isinstance(value, (ast.Tuple, ast.List)):
        for each in value.elts:
            yield from _results(each)
    elif isinstance(value, ast.Dict):
        for each in value.values:
            yield from _results(each)
    elif isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.List):  # tree_unflatten
        yield from _results(value.args[0])
    else:
        yield value.id if isinstance(value, ast.Name) else None
