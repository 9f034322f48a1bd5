"""Which piece each node of a graph goes to: runs of splitting ops, and of what lies between them.

The rules are those of vLLM's ``split_graph`` (vllm/compilation/backends.py); the order of nodes is kept, because a
graph out of Dynamo mutates tensors.
"""

from __future__ import annotations

import operator
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.torch_internals import OpOverload, OpOverloadPacket

_ALLOCATIONS = (torch.empty, torch.empty_like, torch.empty_strided)
_EMPTY = ("aten::empty", "aten::new_empty")


@dataclass(eq=False)
class Group:
    """The nodes of one piece.

    Attributes:
        is_splitting: whether they are splitting ops.
        nodes: in the order of the graph.
        entering: nodes before this piece whose effect on grad mode or autocast lasts when it begins.
        leaving: the blocks of autocast that are open when it ends.
    """

    is_splitting: bool
    nodes: list[fx.Node] = field(default_factory=list[fx.Node])
    entering: tuple[fx.Node, ...] = ()
    leaving: tuple[fx.Node, ...] = ()


def plan_groups(graph: fx.Graph, splitting_ops: Container[fx.Node]) -> list[Group]:
    """Sort the nodes of a graph into pieces, in the order in which these run.

    * Consecutive splitting ops share a piece, and so do all nodes between two splitting ops.
    * ``getitem`` on the result of a node that returns several stays with that node, wherever it stands.
    * A piece that only allocates joins the piece before it that is not a splitting one, if what it needs exists there:
      alone it would become an empty CUDA graph.

    Inputs, constants (``get_attr``) and the output belong to no piece.
    """
    groups: list[Group] = []
    group_of: dict[fx.Node, Group] = {}
    in_force: tuple[fx.Node, ...] = ()
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        group = group_of.get(_producer(node)) if node.target is operator.getitem else None
        if group is None:
            cut = node in splitting_ops
            if not groups or groups[-1].is_splitting != cut:
                groups.append(Group(cut, entering=in_force))
            group = groups[-1]
            in_force = _after(node, in_force)
            group.leaving = tuple(state for state in in_force if torch_internals.enters_autocast(state.target))
        group.nodes.append(node)
        group_of[node] = group
    return _joined(_without_mere_allocations(groups, group_of))


def sequence(node: Any) -> tuple[Any, ...] | list[Any] | None:
    """The fake values of a node that returns several, or a shape; None for all others."""
    value = node.meta.get("example_value", node.meta.get("val")) if isinstance(node, fx.Node) else None
    return value if isinstance(value, (tuple, list)) else None


def _has_no_value(node: Any) -> bool:
    return isinstance(node, fx.Node) and "example_value" not in node.meta and "val" not in node.meta


def is_allocation(node: fx.Node) -> bool:
    """Whether a node only allocates, and leaves the memory as it finds it."""
    if node.op == "call_method":
        return node.target in ("new_empty", "new_empty_strided")
    target: Any = node.target
    if node.op != "call_function" or isinstance(target, str):
        return False
    if isinstance(target, OpOverloadPacket):
        return torch_internals.packet_name(target).startswith(_EMPTY)
    if isinstance(target, OpOverload):
        return target.name().startswith(_EMPTY)
    return target in _ALLOCATIONS


def _producer(getitem: fx.Node) -> Any:
    """What a ``getitem`` is taken from when it may move there: a node of several results, at a constant place.

    An index into a tensor stays where it is: it may copy, and then the tensor must not have been written to since. Of
    a node without a value a whole number takes a part of a tuple, or a view.
    """
    source, index = getitem.args[:2]
    if sequence(source) is not None:
        return source if not isinstance(index, fx.Node) else None
    return source if isinstance(index, int) and _has_no_value(source) else None


def _after(node: fx.Node, in_force: tuple[fx.Node, ...]) -> tuple[fx.Node, ...]:
    """The settings of grad mode and autocast that last after a node."""
    if not torch_internals.sets_global_state(node.target):
        return in_force
    if torch_internals.enters_autocast(node.target):
        return (*in_force, node)
    if node.target is torch_internals.exit_autocast():
        return tuple(state for state in in_force if state is not node.args[0])
    return (*(state for state in in_force if torch_internals.enters_autocast(state.target)), node)


def _without_mere_allocations(groups: list[Group], group_of: dict[fx.Node, Group]) -> list[Group]:
    place = {group: number for number, group in enumerate(groups)}
    kept: list[Group] = []
    home: Group | None = None
    for group in groups:
        if not group.is_splitting and home is not None and all(is_allocation(node) for node in group.nodes):
            needed = {group_of[other] for node in group.nodes for other in node.all_input_nodes if other in group_of}
            if all(place[other] <= place[home] for other in needed - {group}):
                home.nodes += group.nodes
                group_of.update(dict.fromkeys(group.nodes, home))
                continue
        home = home if group.is_splitting else group
        kept.append(group)
    return kept


def _joined(groups: list[Group]) -> list[Group]:
    """Neighbours of one kind as one, now that what lay between them is gone."""
    joined: list[Group] = []
    for group in groups:
        if joined and joined[-1].is_splitting == group.is_splitting:
            joined[-1].nodes += group.nodes
            joined[-1].leaving = group.leaving
        else:
            joined.append(group)
    return joined
