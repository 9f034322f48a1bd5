"""No tuple and no ``torch.Size`` crosses a cut: a compiled piece neither takes nor returns one."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

from cutaway import torch_internals
from cutaway.compiler.split.plan import Group, sequence
from cutaway.errors import SplitError


def take_apart(graph: fx.Graph, groups: Sequence[Group]) -> None:
    """Where a node of several results, or a shape, is used whole by another piece, let that use its parts.

    A part is a literal where it is a number, the node that holds the symbol where one does (so that a shape keeps no
    tensor alive), and else a ``getitem`` beside its source. The graph and the groups are changed in place.

    Raises:
        SplitError: a method of the sequence itself is called across a cut.
    """
    home = {node: group for group in groups for node in group.nodes}
    symbols: dict[Any, list[fx.Node]] | None = None
    for node in [node for group in groups for node in group.nodes if sequence(node) is not None]:
        abroad = [user for user in node.users if home.get(user) is not home[node]]
        if not abroad:
            continue
        symbols = symbol_nodes(graph) if symbols is None else symbols
        _Sequence(node, home, symbols).give_to(abroad)


def symbol_nodes(graph: fx.Graph) -> dict[Any, list[fx.Node]]:
    """The nodes whose value is just a symbol, by that symbol, in order: inputs of the graph come first."""
    found: dict[Any, list[fx.Node]] = {}
    for node in graph.nodes:
        value = node.meta.get("example_value", node.meta.get("val"))
        if isinstance(value, (torch.SymInt, torch.SymFloat)):
            expression = torch_internals.expression(value)
            if expression.is_Symbol:
                found.setdefault(expression, []).append(node)
    return found


class _Sequence:
    """A node of several results that is used whole by other pieces."""

    def __init__(self, node: fx.Node, home: dict[fx.Node, Group], symbols: Mapping[Any, list[fx.Node]]) -> None:
        self.node = node
        self.home = home
        self.symbols = symbols

    def give_to(self, users: Sequence[fx.Node]) -> None:
        parts: Any = None
        for user in users:
            if user.op == "call_method" and user.args and user.args[0] is self.node:
                self._ask_again(user)
                continue
            parts = self._parts(self.node) if parts is None else parts
            user.args, user.kwargs = map_arg(
                (user.args, user.kwargs), lambda other, parts=parts: parts if other is self.node else other
            )

    def _parts(self, source: fx.Node) -> tuple[Any, ...] | list[Any]:
        values = sequence(source)
        assert values is not None
        parts = [self._part(source, index, value) for index, value in enumerate(values)]
        return parts if type(values) is list else tuple(parts)

    def _part(self, source: fx.Node, index: int, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, torch.SymInt):
            inputs = [node for node in self.symbols.get(torch_internals.expression(value), ()) if _is_input(node)]
            if inputs:
                return inputs[0]
        part = self._getitem(source, index, value)
        return self._parts(part) if isinstance(value, (tuple, list)) else part

    def _getitem(self, source: fx.Node, index: int, value: Any) -> fx.Node:
        """The node that takes a part: one that is there already, or a new one right behind the source."""
        for user in source.users:
            if user.target is operator.getitem and user.args == (source, index):
                return user
        with source.graph.inserting_after(source):
            part = source.graph.call_function(operator.getitem, (source, index))
        part.meta = {**source.meta, "example_value": value}
        self._settle(part, behind=source)
        return part

    def _ask_again(self, user: fx.Node) -> None:
        """``x.size().numel()``: no tuple has that method, so the other piece asks the tensor for its shape itself."""
        if self.node.op != "call_method" or self.node.target != "size" or user not in self.home:
            raise SplitError(
                f"the graph cannot be split between {self.node.name} and {user.name}",
                f"{user.name} calls {user.target} of a {type(sequence(self.node)).__name__}, and none may cross a cut",
                "let the model take what it needs out of it before the splitting op",
            )
        with user.graph.inserting_before(user):
            again = user.graph.node_copy(self.node)
        user.replace_input_with(self.node, again)
        self.home[again] = self.home[user]
        nodes = self.home[user].nodes
        nodes.insert(nodes.index(user), again)

    def _settle(self, node: fx.Node, behind: fx.Node) -> None:
        self.home[node] = self.home[behind]
        nodes = self.home[behind].nodes
        nodes.insert(nodes.index(behind) + 1, node)


def _is_input(node: fx.Node) -> bool:
    return node.op == "placeholder"
