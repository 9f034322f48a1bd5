"""An implementation as the nodes that it is made of, traced once for a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.replacement.key import is_plain


class WritesError(Exception):
    """An implementation writes to an argument; names the operator that does."""


class Ref(NamedTuple):
    """A node, by its place: the inputs of a trace come first, then its steps."""

    place: int


@dataclass(frozen=True)
class Step:
    """A node of a trace.

    Attributes:
        op: ``call_function``, or ``get_attr`` for what the trace holds (a tensor, a nested graph).
        target: what is called; of ``get_attr``, the object.
        name: what torch calls such a node, before the name is made unique.
        args: with `Ref` for nodes.
        kwargs: as args.
        places: position among the args, and place of the node there; None when nodes stand deeper or in kwargs.
        meta: what tracing noted, but for the value.
        stays: whether it must stay though nobody uses it.
    """

    op: str
    target: Any
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    places: tuple[tuple[int, int], ...] | None
    meta: Mapping[str, Any]
    stays: bool


@dataclass(frozen=True)
class Trace:
    """What a call was traced into.

    Attributes:
        inputs: the distinct nodes among the arguments; in number.
        steps: in order.
        outputs: what is returned, with `Ref` for nodes.
        values: for each step, ``meta["val"]`` and ``meta["tensor_meta"]``.
        decompositions: those of Inductor's that it owes to.
        single_use: why it serves this one call alone; empty when it can serve others.
    """

    inputs: int
    steps: tuple[Step, ...]
    outputs: Any
    values: tuple[tuple[Any, Any], ...]
    decompositions: torch_internals.Decompositions
    single_use: str


def nodes_in(args: Any) -> list[fx.Node]:
    """The distinct nodes among arguments, as they first appear."""
    found: dict[fx.Node, None] = {}
    for arg in args:
        if type(arg) is fx.Node:
            found[arg] = None
        elif isinstance(arg, (list, tuple)):
            found.update(dict.fromkeys(nodes_in(arg)))
        elif isinstance(arg, slice):
            found.update(dict.fromkeys(nodes_in((arg.start, arg.stop, arg.step))))
    return list(found)


def replaced(args: Any, values: Mapping[fx.Node, Any]) -> Any:
    """Arguments with values in the place of nodes."""
    return fx.map_arg(args, lambda node: values[node])


def trace(function: Callable[..., Any], args: Sequence[Any], inputs: Mapping[fx.Node, Any], mode: Any) -> Trace:
    """Trace a call, in the graph's own fake mode; a size is asked nothing that has no answer yet.

    What it returns lies in new memory, as an op's schema says: where the function returns an argument, a view of one,
    or one tensor twice, there is a copy.

    Args:
        function: the implementation; it must not write to its arguments.
        args: the op's arguments, with nodes in them.
        inputs: what to trace it with for each of these nodes.
        mode: the fake mode.

    Raises:
        WritesError: the function writes to an argument.
        Exception: whatever the function raises; `torch_internals.open_question` knows those for want of a guard.
    """
    shape_env = mode.shape_env
    given = {torch_internals.storage_of(value) for value in inputs.values() if isinstance(value, torch.Tensor)}
    result: list[Any] = []

    def flat(*values: Any) -> list[Any]:
        outputs = function(*replaced(args, dict(zip(inputs, values, strict=True))))
        leaves: list[Any] = []
        result.append(_flattened(outputs, leaves, set(given)))
        return leaves

    before = None if shape_env is None else torch_internals.state_of_shapes(shape_env)
    with torch_internals.in_mode(mode), torch_internals.no_new_guards(shape_env):
        gm, decompositions = torch_internals.trace_forward(flat, list(inputs.values()))
    for node in gm.graph.nodes:
        _check_writes(node, given)
    made = _steps_of(gm, result[-1], decompositions)
    if before is not None and torch_internals.state_of_shapes(shape_env) != before:
        return replace(made, single_use=made.single_use or "tracing it learnt something about the symbols")
    if torch_internals.is_traced_into():
        return replace(made, single_use=made.single_use or "another node is being interpreted")
    return made


def _flattened(outputs: Any, leaves: list[Any], memories: set[int]) -> Any:
    """Outputs with their places among the leaves; a tensor in memory that is known already is copied."""
    if isinstance(outputs, (list, tuple)):
        return tuple(_flattened(part, leaves, memories) for part in outputs)
    if isinstance(outputs, torch.Tensor):
        if torch_internals.storage_of(outputs) in memories:
            outputs = outputs.clone()
        memories.add(torch_internals.storage_of(outputs))
    elif not isinstance(outputs, torch_internals.SymbolicNumber):
        return outputs
    leaves.append(outputs)
    return Ref(len(leaves) - 1)


def _check_writes(node: fx.Node, given: set[int]) -> None:
    """Raises WritesError when a node of a trace writes to memory that the implementation was given."""
    overload = torch_internals.op_overload(node.target) if node.op == "call_function" else None
    effects = torch_internals.effects_of(overload) if overload is not None else None
    if effects is None or not effects.writes:
        return
    written = {**dict(zip(effects.parameters, node.args, strict=False)), **node.kwargs}
    for one in nodes_in([written[name] for name in effects.writes if name in written]):
        value = one.meta.get("val")
        if isinstance(value, torch.Tensor) and torch_internals.storage_of(value) in given:
            raise WritesError(str(node.target))


def _steps_of(gm: fx.GraphModule, structure: Any, decompositions: torch_internals.Decompositions) -> Trace:
    refs: dict[fx.Node, Ref] = {}
    steps: list[Step] = []
    values: list[tuple[Any, Any]] = []
    reasons: list[str] = []
    inputs = 0
    for node in gm.graph.nodes:
        if node.op == "output":
            continue
        refs[node] = Ref(len(refs))
        if node.op == "placeholder":
            inputs += 1
            continue
        steps.append(_step(gm, node, refs))
        values.append((node.meta.get("val"), node.meta.get("tensor_meta")))
        reasons += [reason for reason in (_why_single_use(node),) if reason]
    (returned,) = gm.graph.output_node().args
    leaves: Any = returned if isinstance(returned, (list, tuple)) else (returned,)
    outputs = _with_leaves(structure, [_with_refs(leaf, refs) for leaf in leaves])
    return Trace(inputs, tuple(steps), outputs, tuple(values), decompositions, reasons[0] if reasons else "")


def _with_leaves(structure: Any, leaves: Sequence[Any]) -> Any:
    if type(structure) is Ref:
        return leaves[structure.place]
    return tuple(_with_leaves(part, leaves) for part in structure) if isinstance(structure, tuple) else structure


def _with_refs(args: Any, refs: Mapping[fx.Node, Ref]) -> Any:
    return fx.map_arg(args, lambda node: refs[node])  # pyright: ignore[reportArgumentType, reportReturnType]


def _step(gm: fx.GraphModule, node: fx.Node, refs: Mapping[fx.Node, Ref]) -> Step:
    kept = (*torch_internals.copied_fields(), "unbacked_bindings")
    target: Any = node.target
    if node.op == "get_attr":
        for part in str(node.target).split("."):
            target = getattr(gm if target is node.target else target, part)
    args, kwargs = _with_refs(node.args, refs), _with_refs(node.kwargs, refs)
    flat = all(isinstance(one, fx.Node) or not nodes_in((one,)) for one in node.args) and not kwargs
    return Step(
        op=node.op,
        target=target,
        name=str(node.target) if node.op == "get_attr" else torch_internals.name_for(gm.graph, node.target),
        args=args,
        kwargs=kwargs,
        places=tuple((at, arg.place) for at, arg in enumerate(args) if type(arg) is Ref) if flat else None,
        meta={key: node.meta[key] for key in kept if key in node.meta},
        stays=node.op == "get_attr" or node.is_impure() or torch_internals.is_higher_order(node.target),
    )


def _why_single_use(node: fx.Node) -> str:
    """Why a node cannot stand in another graph."""
    if node.op == "get_attr":
        return f"it holds {node.target}"
    if torch_internals.is_higher_order(node.target):
        return f"it calls the higher-order operator {node.target}"
    if "unbacked_bindings" in node.meta:
        return f"{node.target} makes a new symbol"
    odd = [leaf for leaf in _leaves((node.args, node.kwargs)) if not isinstance(leaf, fx.Node) and not is_plain(leaf)]
    return f"{node.target} takes a {type(odd[0]).__qualname__}" if odd else ""


def _leaves(args: Any) -> list[Any]:
    if isinstance(args, slice):
        args = (args.start, args.stop, args.step)
    if isinstance(args, Mapping):
        args = tuple(args.values())
    return [leaf for part in args for leaf in _leaves(part)] if isinstance(args, (list, tuple)) else [args]
