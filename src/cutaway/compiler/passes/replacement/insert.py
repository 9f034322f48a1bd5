"""The steps of a trace as nodes of a graph, in the place of the node that they do the work of."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.replacement.trace import Ref, Step


def insert(
    node: fx.Node,
    inputs: Sequence[fx.Node],
    steps: Sequence[Step],
    outputs: Any,
    values: Sequence[tuple[Any, Any]],
    pass_name: str,
) -> list[fx.Node]:
    """Put steps in the place of a node, and erase it.

    New nodes are named, and those that nobody uses left out, as the pattern matcher's ``replace_with_graph`` does it.
    They carry the metadata of the node (its layer, its source line, where it was traced from), and a note that they
    stand for it.

    Args:
        node: what is replaced.
        inputs: the distinct nodes among its arguments.
        steps: what to put there.
        outputs: what stands for what the node returns; with `Ref`.
        values: ``meta["val"]`` and ``meta["tensor_meta"]`` of each step.
        pass_name: who does it, for the note.

    Returns:
        The new nodes that are in the graph.
    """
    graph = node.graph
    inherited = _inherited(node)
    inherited["from_node"] = [torch_internals.replaced_by(node, pass_name)]
    nodes = list(inputs)
    with graph.inserting_before(node):
        for step, (value, noted) in zip(steps, values, strict=True):
            made = _created(graph, step, nodes)
            meta = made.meta  # filled, not replaced: whoever sets an attribute of a node has it indexed anew
            meta.update(step.meta)
            meta.update(inherited)
            if value is not None or step.op != "get_attr":
                meta["val"] = value
            if noted is not None:
                meta["tensor_meta"] = noted
            nodes.append(made)
    new = nodes[len(inputs) :]
    _replace_uses(node, _with_nodes(outputs, nodes), frozenset(new))
    graph.erase_node(node)
    left: list[fx.Node] = []
    for step, made in zip(reversed(steps), reversed(new), strict=True):
        if made.users or step.stays:
            left.append(made)
        else:
            graph.erase_node(made)
    return left[::-1]


def _inherited(node: fx.Node) -> dict[str, Any]:
    """The metadata that a node in this one's place takes over; of what it was traced from, it has a note of its own."""
    meta = node.meta
    return {key: meta[key] for key in _fields() if key in meta}


@functools.cache
def _fields() -> tuple[str, ...]:
    return tuple(key for key in (*torch_internals.copied_fields(), "seq_nr") if key != "from_node")


def _created(graph: fx.Graph, step: Step, nodes: Sequence[fx.Node]) -> fx.Node:
    if step.op == "get_attr":
        return _attribute(graph, step)
    if step.places is None:
        args, kwargs = _with_nodes(step.args, nodes), _with_nodes(step.kwargs, nodes)
        return torch_internals.new_call(graph, step.target, args, kwargs, step.name)
    args = list(step.args)
    for at, place in step.places:
        args[at] = nodes[place]
    return torch_internals.new_call(graph, step.target, tuple(args), {}, step.name)


def _attribute(graph: fx.Graph, step: Step) -> fx.Node:
    """A tensor or a nested graph that the trace holds, as an attribute of the graph's module."""
    gm: Any = graph.owning_module
    present = (*gm.named_children(), *gm.named_buffers(recurse=False))
    name = next((name for name, held in present if held is step.target), None)
    if name is None:
        name = torch_internals.unused_attribute(gm, step.name.replace(".", "_"))
        if isinstance(step.target, torch.Tensor):
            gm.register_buffer(name, step.target)
        else:
            setattr(gm, name, step.target)
    return graph.get_attr(name)


def _with_nodes(arg: Any, nodes: Sequence[fx.Node]) -> Any:
    """An argument with nodes in the place of `Ref`."""
    if type(arg) is Ref:
        return nodes[arg.place]
    if isinstance(arg, tuple):
        return tuple([_with_nodes(part, nodes) for part in arg])
    if isinstance(arg, list):
        return [_with_nodes(part, nodes) for part in arg]
    if isinstance(arg, Mapping):
        return {key: _with_nodes(part, nodes) for key, part in arg.items()}
    if isinstance(arg, slice):
        return slice(_with_nodes(arg.start, nodes), _with_nodes(arg.stop, nodes), _with_nodes(arg.step, nodes))
    return arg


def _replace_uses(old: fx.Node, new: Any, made: frozenset[fx.Node]) -> None:
    """Let whoever uses a node use what stands for it; what takes one of several results, that result."""
    if isinstance(new, fx.Node):
        old.replace_all_uses_with(new)
        return
    for user in list(old.users):
        if isinstance(new, tuple) and user.op == "call_function" and user.target is operator.getitem:
            part: Any = new[user.args[1]]  # type: ignore[index]
            if part in made:
                part.meta.update(_inherited(user))
            _replace_uses(user, part, made)
            user.graph.erase_node(user)
        else:
            given: Any = (user.args, user.kwargs)
            user.args, user.kwargs = fx.map_arg(given, lambda node: new if node is old else node)
