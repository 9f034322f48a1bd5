"""Nodes that change nothing are removed, so that patterns meet what matters."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.aliasing import Memory
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.copies import why_needed
from cutaway.compiler.passes.graph import (
    argument,
    is_contiguous,
    placeholders_at,
    results_of,
    same_layout,
    same_offset,
    same_sizes,
    tensor_of,
    value_of,
)
from cutaway.compiler.passes.inductor_pass import InductorPass

aten = torch.ops.aten

_RESHAPES = (aten.view.default, aten.reshape.default)
_PERHAPS_VIEWS = ("aten::reshape", "aten::contiguous", "aten::_unsafe_view")  # of what they leave as it is
_CONVERSIONS = ("aten::_to_copy", "prims::convert_element_type")


@dataclass(frozen=True)
class NoOpElimination(InductorPass):
    """Removes views of all of a tensor as it is, reshapes of reshapes, and copies that keep everything.

    * a view (reshape, expand, permute, slice over everything, a split in one part) that has the sizes, strides and
      offset of what it is a view of, at once or some views before: that takes its place;
    * a reshape of a reshape of a contiguous tensor reshapes the tensor;
    * a conversion to the dtype and device that a tensor has, a ``slice_scatter`` over everything: the tensor itself,
      where a clone could be removed, too (see ``clone_elimination``; clones are left alone here).

    Sizes count as equal when they are for every value of their symbols; no guard is added. A result of the graph that
    is a view of an input or of another result stays one.

    Reports ``views``, ``reshapes`` and ``copies``: how many of each were removed.

    Idea: vLLM's ``NoOpEliminationPass``, which compares sizes alone.
    """

    name: ClassVar[str] = "no_op_elimination"

    def __call__(self, graph: fx.Graph) -> None:
        context = get_pass_context()
        results = set(results_of(graph))
        for node in list(graph.nodes):
            same = _same_before(node)
            if same is not None and not (node in results and (same in results or _is_input(same))):
                results.update([same] if node in results else [])
                node.replace_all_uses_with(same)
                graph.erase_node(node)
                context.report.count("views")
            elif _reshapes_again(node):
                inner: Any = node.args[0]
                node.replace_input_with(inner, inner.args[0])
                context.report.count("reshapes")
        copies = [node for node in graph.nodes if _copied(node) is not None]
        memory = Memory(graph) if copies else None
        donated = placeholders_at(graph, context.donated_inputs)
        for node in copies:
            source = _copied(node)  # now: a copy before it, which it copied, may be gone
            assert memory is not None
            if source is not None and not why_needed(node, source, memory, donated):
                memory.merge(source, node)
                node.replace_all_uses_with(source)
                graph.erase_node(node)
                context.report.count("copies")


def _is_input(node: fx.Node) -> bool:
    return node.op in ("placeholder", "get_attr")


def _viewed(node: fx.Node) -> fx.Node | None:
    """The tensor that a node is a view of; of a reshape too, which is one where it keeps what it is given."""
    if node.target is operator.getitem:
        made: Any = node.args[0]
        return _viewed(made) if isinstance(value_of(made), (tuple, list)) else None
    overload = torch_internals.op_overload(node.target) if node.op == "call_function" else None
    if overload is None:
        return None
    effects = torch_internals.effects_of(overload)
    if not effects.is_view and overload.name() not in _PERHAPS_VIEWS:
        return None
    source = argument(node, effects.parameters[0])
    return source if isinstance(source, fx.Node) and effects.aliases == (frozenset(effects.parameters[:1]),) else None


def _same_before(node: fx.Node) -> fx.Node | None:
    """The first of the tensors that a node is a view of, through other views, that it is no different from."""
    found = None
    source = _viewed(node)
    while source is not None:
        if same_layout(node, source) and same_offset(node, source):
            found = source
        source = _viewed(source)
    return found


def _reshapes_again(node: fx.Node) -> bool:
    if node.target not in _RESHAPES:
        return False
    inner: Any = node.args[0]
    if inner.target not in _RESHAPES:
        return False
    values = [tensor_of(inner.args[0]), tensor_of(inner), tensor_of(node)]
    return all(value is not None and is_contiguous(value) for value in values)


def _copied(node: fx.Node) -> fx.Node | None:
    """The tensor whose content, and nothing else, a node returns anew; None when it does more than that."""
    overload = torch_internals.op_overload(node.target)
    if overload is not None and overload.name() in _CONVERSIONS:
        source = None if node.kwargs.get("pin_memory") else node.args[0]
    elif node.target is aten.slice_scatter.default:
        whole, source = tensor_of(node.args[0]), node.args[1]
        part = tensor_of(source)
        if whole is None or part is None or not same_sizes(whole.shape, part.shape):
            return None
    else:
        return None
    return source if isinstance(source, fx.Node) and same_layout(node, source) else None
