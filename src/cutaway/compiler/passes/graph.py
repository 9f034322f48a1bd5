"""What passes share that rewrite graphs: how values lie, what a new node is told, a node shown where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record.names import target_name, users_frame
from cutaway.record.values import node_value

_AROUND = 2  # nodes that are shown before and after the one that a message is about
_OURS = Path(__file__).parents[2]
_LIBRARIES = (f"{Path(torch.__file__).parent}/", f"{_OURS}/compiler/", f"{_OURS}/ops/")


def value_of(node: fx.Node) -> Any:
    """The fake value of a node; of an attribute that has none, the tensor itself."""
    value = node_value(node)
    if value is None and node.op == "get_attr":
        held: Any = node.graph.owning_module
        for part in str(node.target).split("."):
            held = getattr(held, part, None)
        return held if isinstance(held, torch.Tensor) else None
    return value


def tensor_of(node: Any) -> torch.Tensor | None:
    """The value of a node that returns one strided tensor, or that tensor; None for anything else."""
    value = value_of(node) if isinstance(node, fx.Node) else node
    return value if isinstance(value, torch.Tensor) and value.layout is torch.strided else None


def same_sizes(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two sequences of sizes are equal whatever the symbols in them stand for. Adds no guard."""
    return len(one) == len(other) and all(
        left is right or torch_internals.is_known(left == right) for left, right in zip(one, other, strict=True)
    )


def same_layout(one: Any, other: Any) -> bool:
    """Whether two nodes, or fake tensors, are of one dtype and device and lie in their memory in one way.

    Only where both begin in it may differ.
    """
    left, right = tensor_of(one), tensor_of(other)
    if left is None or right is None:
        return False
    return (
        left.dtype is right.dtype
        and left.device == right.device
        and left.is_conj() == right.is_conj()
        and left.is_neg() == right.is_neg()
        and same_sizes(left.shape, right.shape)
        and same_sizes(left.stride(), right.stride())
    )


def same_offset(one: Any, other: Any) -> bool:
    """Whether two nodes, or fake tensors, begin at the same place of their memory."""
    left, right = tensor_of(one), tensor_of(other)
    return left is not None and right is not None and same_sizes([left.storage_offset()], [right.storage_offset()])


def lies_all_over(part: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether a view holds every element of what it is a view of, in whatever order. Adds no guard."""
    if part.dtype is not whole.dtype or not same_sizes([part.storage_offset()], [whole.storage_offset()]):
        return False
    if is_contiguous(part) and is_contiguous(whole):
        return torch_internals.is_known(part.numel() == whole.numel())
    left, right = (sorted(zip(value.stride(), value.shape, strict=True), key=str) for value in (part, whole))
    return same_sizes([*chain(*left)], [*chain(*right)])


def is_contiguous(value: torch.Tensor) -> bool:
    """Whether a tensor is contiguous whatever its symbolic sizes stand for. Adds no guard."""
    expected: Any = 1
    strides: list[Any] = []
    for size in reversed(value.shape):
        strides.append(expected)
        expected = expected * size
    return same_sizes(value.stride(), strides[::-1])


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An argument of a call of an operator by the operator's name for it, however it was given."""
    overload = torch_internals.op_overload(node.target)
    if name in node.kwargs or overload is None:
        return node.kwargs.get(name, default)
    parameters = torch_internals.effects_of(overload).parameters
    given = dict(zip(parameters, node.args, strict=False))
    return given.get(name, default)


_STATE = re.compile(r"_(?:parameters|buffers)_")
_OF_THE_MODEL = ("L['self']", "L['fn']", "G[")  # "fn": what Dynamo's own frame around a module of torch calls it


def is_weight(node: fx.Node) -> bool:
    """Whether an input of a graph is a parameter, a buffer, or another attribute of the model: not of one call alone.

    Dynamo says where it found it, and names it after that; what a module holds it takes to lie where it lies.
    """
    if node.op == "get_attr" or isinstance(value_of(node), (torch.nn.Parameter, torch.nn.Buffer)):
        return True
    facts = node.meta.get("tensor_dict") or {}
    if facts.get("_dynamo_static_input_type") == "unguarded" or _STATE.search(node.name):
        return True
    return (torch_internals.dynamo_source(node) or "").startswith(_OF_THE_MODEL)


def results_of(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that a graph returns."""
    found: list[fx.Node] = []
    fx.map_arg(graph.output_node().args, found.append)
    return found


def placeholders_at(graph: fx.Graph, positions: Iterable[int]) -> list[fx.Node]:
    """The placeholders at these positions; what lies beyond the last is left out."""
    wanted = set(positions)
    return [node for place, node in enumerate(graph.find_nodes(op="placeholder")) if place in wanted]


_KEPT = ("nn_module_stack", "stack_trace", "source_fn_stack", "seq_nr", "custom")


def meta_of(nodes: Sequence[fx.Node], value: Any) -> dict[str, Any]:
    """Metadata for a node that does what several did.

    Layer, source line and the like are those of the last that has them; the notes of where a node was traced from
    (``from_node``) are those of all.

    Args:
        nodes: what is replaced, in the order of the graph.
        value: what the new node returns.
    """
    found: dict[str, Any] = {}
    for node in nodes:
        found |= {key: node.meta[key] for key in _KEPT if node.meta.get(key) is not None}
    notes = list(chain.from_iterable(node.meta.get("from_node") or () for node in nodes))
    if notes:
        found["from_node"] = notes
    found["val"] = value
    return found


def line_of(node: fx.Node) -> str:
    """``file:line: code`` of the user's line that a node stems from; empty when it is not known."""
    frame = users_frame(node.meta.get("stack_trace") or "", _LIBRARIES)
    return f"{frame[0]}:{frame[1]}: {frame[3]}".removesuffix(": ") if frame is not None else ""


def described(node: fx.Node) -> str:
    """A node as one line of a graph, without types: ``%add = aten.add.Tensor(%x, %y)``."""
    if node.op == "placeholder":
        return f"%{node.name} = input"
    if node.op == "output":
        return f"return {_text(node.args[0])}"
    parts = [*map(_text, node.args), *(f"{name}={_text(value)}" for name, value in node.kwargs.items())]
    called = str(node.target) if isinstance(node.target, str) else target_name(node.target)
    if node.op == "get_attr":
        return f"%{node.name} = self.{called}"
    return f"%{node.name} = {'.' if node.op == 'call_method' else ''}{called}({', '.join(parts)})"


def _text(value: Any) -> str:
    if isinstance(value, fx.Node):
        return f"%{value.name}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_text(part)}' for key, part in value.items())}}}"
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def shown(marks: Mapping[fx.Node, str]) -> str:
    """Nodes inside the graph that they stand in: each with its neighbours, a remark, and its source line.

    xdsl prints an error so, inside the IR at the op that failed.

    Args:
        marks: node -> what is to be said of it; all of one graph.
    """
    nodes = list(next(iter(marks)).graph.nodes)
    places = {node: place for place, node in enumerate(nodes)}
    near = {place + step for place in map(places.__getitem__, marks) for step in range(-_AROUND, _AROUND + 1)}
    lines: list[str] = []
    last = -1
    for place in sorted(near & set(range(len(nodes)))):
        if place != last + 1:
            lines.append("    ...")
        last, node = place, nodes[place]
        lines.append(f"  {'>' if node in marks else ' '} {described(node)}")
        if node in marks:
            lines += [f"      ^ {text}" for text in (marks[node], line_of(node)) if text]
    return "\n".join([*lines, "    ..." if last + 1 < len(nodes) else "    (the graph ends here)."])
