"""A node table as an fx graph again: operators by name, values as fake tensors. Nothing of the dump is executed."""

from __future__ import annotations

import ast
import builtins
import importlib
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.layers.words import short_dtype

_MODULES = ("operator", "math", "torch")  # where a function that is no operator of torch's may come from
_MANY = 4096
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Mod": operator.mod, "PythonMod": operator.mod, "FloorDiv": operator.floordiv, "CleanDiv": operator.floordiv,
    "floor": lambda x: x, "Max": torch.sym_max, "Min": torch.sym_min,
}  # fmt: skip


class Unknown:
    """Stands for an operator or a value that this process does not have; equal to nothing but itself.

    Args:
        name: what the dump calls it.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name
        self.__module__ = "unknown"

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{self.__name__} is not registered in this process")

    def __repr__(self) -> str:
        return self.__name__


class Rebuilt:
    """A graph out of a node table.

    Args:
        table: the table as plain JSON values.

    Attributes:
        gm: the graph; each node has its value in ``meta["val"]`` as far as the table tells it.
        unknown: names of operators that are not registered in this process.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.mode = torch_internals.fake_mode_for_table()
        self.unknown: dict[str, Unknown] = {}
        self._sizes = {name: self._symbol(name, facts or {}) for name, facts in table.get("symbols", {}).items()}
        self.gm = self._graph(table)

    def _symbol(self, name: str, facts: Mapping[str, Any]) -> Any:
        hint = facts.get("hint")
        least, most = facts.get("min"), facts.get("max")
        example = hint if hint is not None else min(max(_MANY, least or 0), most if most is not None else _MANY)
        return torch_internals.size_of_table(self.mode, name, example, least, most)

    def _graph(self, table: Mapping[str, Any]) -> fx.GraphModule:
        root, graph = torch.nn.Module(), fx.Graph()
        for name, inner in table.get("graphs", {}).items():
            _put(root, name, self._graph(inner))
        nodes: list[fx.Node] = []
        for row in table["nodes"]:
            args = tuple(self._argument(value, nodes) for value in row.get("args", ()))
            kwargs = {key: self._argument(value, nodes) for key, value in row.get("kwargs", {}).items()}
            target = self._target(row["target"]) if row["op"] == "call_function" else row["target"]
            if row["op"] in ("get_attr", "call_module") and not _has(root, target):
                _put(root, target, torch.nn.Module())
            node = graph.create_node(row["op"], target, args, kwargs, name=row["name"])
            node.meta["cutaway_name"] = row["name"]
            if row.get("dtype") and row.get("shape") is not None:
                node.meta["cutaway_type"] = f"{short_dtype(row['dtype'])}[{', '.join(map(str, row['shape']))}]"
            value = self._value(row)
            if value is not None:
                node.meta["val"] = value
            nodes.append(node)
        return fx.GraphModule(root, graph)

    def _value(self, row: Mapping[str, Any]) -> Any:
        if row.get("outputs"):
            return tuple(self._value(part) for part in row["outputs"])
        try:
            if row.get("shape") is not None:
                return self._tensor(row)
            return self._size(row["value"]) if row.get("value") is not None else None
        except (ValueError, TypeError, KeyError, RuntimeError, SyntaxError, AttributeError):
            return None  # an expression or a dtype that this torch cannot make: the node goes without a value

    def _tensor(self, row: Mapping[str, Any]) -> Any:
        shape = [self._size(size) for size in row["shape"]]
        options: dict[str, Any] = {"dtype": getattr(torch, row["dtype"]), "device": row.get("device") or "cpu"}
        with self.mode:
            if row.get("stride") is None:
                return torch.empty(shape, **options)
            made = torch.empty_strided(shape, [self._size(step) for step in row["stride"]], **options)
        return made.requires_grad_(True) if row.get("requires_grad") else made

    def _size(self, size: int | str) -> Any:
        if isinstance(size, int):
            return size
        return self._sizes[size] if size in self._sizes else self._expression(ast.parse(size, mode="eval").body)

    def _expression(self, node: ast.expr) -> Any:
        """A sum, product, quotient of symbols; nothing else is evaluated."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            return self._sizes[node.id]
        if isinstance(node, ast.BinOp):
            return _ARITHMETIC[type(node.op)](self._expression(node.left), self._expression(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._expression(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return _FUNCTIONS[node.func.id](*map(self._expression, node.args))
        raise ValueError(f"{ast.unparse(node)} is no expression of sizes")

    def _argument(self, value: Any, nodes: list[fx.Node]) -> Any:
        if isinstance(value, list):
            return [self._argument(part, nodes) for part in value]
        if not isinstance(value, dict):
            return value
        [(tag, inner)] = value.items()
        if tag == "node":
            return nodes[inner]
        if tag in ("tuple", "slice"):
            parts = tuple(self._argument(part, nodes) for part in inner)
            return parts if tag == "tuple" else slice(*parts)
        if tag == "dict":
            return {self._argument(key, nodes): self._argument(part, nodes) for key, part in inner}
        return self._named(tag, inner)

    def _named(self, tag: str, text: str) -> Any:
        """An argument that is written as text."""
        if tag == "float":
            return float(text)
        if tag == "sym":
            try:
                return self._size(text)
            except (ValueError, KeyError, TypeError, SyntaxError):
                return Unknown(text)
        if tag == "torch":
            place = text.removeprefix("device('").removesuffix("')")
            return torch.device(place) if place != text else getattr(torch, text.rpartition(".")[2], Unknown(text))
        return operator_called(text) or Unknown(text)

    def _target(self, name: str) -> Any:
        return operator_called(name) or self.unknown.setdefault(name, Unknown(name))


def operator_called(name: str) -> Any:
    """The function or operator that a node table calls so; None when this process has none of that name.

    Functions are looked for in torch, ``operator``, ``math`` and the builtins alone.
    """
    parts = name.split(".")
    if parts[0] == "higher_order":
        return getattr(torch.ops.higher_order, name.removeprefix("higher_order."), None)
    if len(parts) == 1:
        return getattr(builtins, name, None)
    if parts[0] in _MODULES:
        return _dotted(parts)
    try:
        found: Any = torch.ops
        for part in parts:
            found = getattr(found, part)
    except (AttributeError, RuntimeError):
        return None
    return found


def _dotted(parts: list[str]) -> Any:
    for count in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found if callable(found) else None
    return None


def _has(root: torch.nn.Module, path: str) -> bool:
    found: Any = root
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is not None


def _put(root: torch.nn.Module, path: str, value: torch.nn.Module) -> None:
    *parents, last = path.split(".")
    for part in parents:
        if not isinstance(getattr(root, part, None), torch.nn.Module):
            setattr(root, part, torch.nn.Module())
        root = getattr(root, part)
    setattr(root, last, value)
