"""A piece that writes to memory takes that memory once: views of what it takes are made again inside it.

AOTAutograd compiles a piece that is given a tensor and a view of it, and writes into one of them, for one tensor that
it makes of the two (``merge_view_inputs``). What that one looks like depends on ``Tensor._base``, which the fake
tensors have that Dynamo traced with, and the results of compiled pieces have not: at the first call its shape would be
another than the code was made for. A view costs nothing, so it is made where it is used.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.split.plan import Group

_IN_PLACE = ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "setitem")
_OPERATORS = frozenset(getattr(operator, name) for name in _IN_PLACE)
_METHODS = frozenset(f"__{name}__" for name in _IN_PLACE)


def rebuild_views(graph: fx.Graph, groups: Sequence[Group]) -> bool:
    """Give each piece that is compiled, and writes to memory that it takes more than once, that memory once.

    No other piece is touched: they stay what vLLM's are. Two inputs of the whole graph that share memory stay, too:
    they come from the caller, and are as they were traced.

    Returns:
        Whether the graph and its groups were changed.
    """
    home = {node: group for group in groups for node in group.nodes}
    changed = False
    for group in groups:
        if group.is_splitting:
            continue
        for memory, taken in _taken_twice(group, home).items():
            writes = any(memory in _memory(other) for node in group.nodes for other in written_by(node))
            if writes and not any(_changes_shape(node, memory) for node in graph.nodes):
                changed = _Views(group, home, memory).rebuild(taken) or changed
    return changed


def written_by(node: fx.Node) -> list[fx.Node]:
    """The arguments that a call, as Dynamo writes it down, may write to; all where it is not known what it does."""
    if node.op not in ("call_function", "call_method", "call_module"):
        return []
    overloads = torch_internals.overloads_of(node.target)
    found: list[Any] = [node.kwargs.get("out")]
    if overloads:
        for effects in map(torch_internals.effects_of, overloads):
            given = {**dict(zip(effects.parameters, node.args, strict=False)), **node.kwargs}
            found += [given[name] for name in effects.writes if name in given]
    elif _writes_first(node):
        found.append(node.args[0] if node.args else None)
    elif not _is_pure(node):
        return node.all_input_nodes
    nodes: dict[fx.Node, None] = {}
    fx.map_arg(found, nodes.setdefault)  # pyright: ignore[reportArgumentType]
    return list(nodes)


def _writes_first(node: fx.Node) -> bool:
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or (node.target in _OPERATORS if node.op == "call_function" else name in _METHODS)


def _is_pure(node: fx.Node) -> bool:
    """Whether a call that is no operator of the dispatcher, and not in place by its name, writes to nothing."""
    if node.op == "call_method":
        return True
    target: Any = node.target
    if isinstance(target, FunctionType):  # Python's of torch: relu(x, inplace=True), batch_norm(x, mean, ...)
        told = any(value is True for value in (*node.args, *node.kwargs.values()))
        return target.__module__ == "torch.nn.functional" and not told
    return target is getattr or torch_internals.aten_name(target) is not None or target in vars(operator).values()


def _changes_shape(node: fx.Node, memory: int) -> bool:
    """Whether a call gives a tensor in this memory other sizes, strides or memory: ``t_``, ``set_``."""
    if node.op not in ("call_function", "call_method") or not _writes_first(node) or memory not in _memory(node):
        return False
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    packet = getattr(torch.ops.aten, name, None)
    return any(torch.Tag.inplace_view in overload.tags for overload in torch_internals.overloads_of(packet))


def _taken_twice(group: Group, home: dict[fx.Node, Group]) -> dict[int, list[fx.Node]]:
    """What a piece takes from outside, by the memory it lies in, where it takes two values of it or more."""
    found: dict[int, dict[fx.Node, None]] = {}
    for node in group.nodes:
        for other in node.all_input_nodes:
            if home.get(other) is not group:
                for memory in _memory(other):
                    found.setdefault(memory, {})[other] = None
    return {memory: list(nodes) for memory, nodes in found.items() if len(nodes) > 1}


def _memory(node: fx.Node) -> set[int]:
    """The memory that a node's value lies in; several for a tuple of tensors."""
    value = node.meta.get("example_value", node.meta.get("val"))
    parts: Iterable[Any] = value if isinstance(value, (tuple, list)) else (value,)
    strided = [part for part in parts if isinstance(part, torch.Tensor) and part.layout is torch.strided]
    return {torch_internals.storage_of(part) for part in strided}


class _Views:
    """The views of one tensor that a piece makes again.

    Args:
        group: the piece.
        home: the piece of each node; what is made is added.
        memory: where the tensor and its views lie.
    """

    def __init__(self, group: Group, home: dict[fx.Node, Group], memory: int) -> None:
        self.group = group
        self.home = home
        self.memory = memory
        self._made: dict[fx.Node, fx.Node] = {}

    def rebuild(self, taken: Sequence[fx.Node]) -> bool:
        """Have the piece use views of its own instead of these. Returns whether there were any to make."""
        changed = False
        for user in list(self.group.nodes):
            for view in user.all_input_nodes:
                own = self._again(view, before=user) if view in taken else view
                if own is not view:
                    user.replace_input_with(view, own)
                    changed = True
        for view in taken:
            self._forget(view)
        return changed

    def _again(self, view: fx.Node, before: fx.Node) -> fx.Node:
        """The same value, made in this piece out of what the view is a view of; itself when it is a view of nothing."""
        source = self._source(view)
        if source is None:
            return view
        if view not in self._made:
            inside = self._again(source, before)
            self._made[view] = inside if _writes_first(view) else self._copy(view, source, inside, before)
        return self._made[view]

    def _copy(self, view: fx.Node, source: fx.Node, inside: fx.Node, before: fx.Node) -> fx.Node:
        with view.graph.inserting_before(before):
            copy = view.graph.node_copy(view, lambda other: inside if other is source else other)
        self.group.nodes.insert(self.group.nodes.index(before), copy)
        self.home[copy] = self.group
        return copy

    def _source(self, view: fx.Node) -> fx.Node | None:
        """What a node is a view of, if it can be made again: what is written in place is what it was before."""
        if view.op not in ("call_function", "call_method"):
            return None
        sources = [node for node in view.all_input_nodes if self.memory in _memory(node)]
        if _writes_first(view):
            return sources[0] if sources and sources[0] is view.args[0] else None
        overloads = torch_internals.overloads_of(view.target)
        plain = all(overload.namespace == "aten" for overload in overloads) and not written_by(view)
        return sources[0] if plain and len(sources) == 1 else None

    def _forget(self, view: fx.Node) -> None:
        """Take a view out of the piece before, when nobody uses it there; that piece is not left empty."""
        source = self._source(view)
        if source is None or view.users or _writes_first(view) or len(self.home[view].nodes) == 1:
            return
        self.home.pop(view).nodes.remove(view)
        view.graph.erase_node(view)
        self._forget(source)
