"""Additions that scale one operand are written out where a matrix product is added: Inductor forgets the scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.graph import meta_of, tensor_of, value_of
from cutaway.compiler.passes.inductor_pass import InductorPass

aten = torch.ops.aten


@dataclass(frozen=True)
class ScaledAddition(InductorPass):
    """``add(x, y, alpha=a)`` becomes ``add(x, mul(y, a))`` where one operand is a matrix product, or a view of one.

    Inductor's patterns for ``addmm`` and for the sum of two products (torch 2.13, ``fx_passes/post_grad.py``) match an
    addition by its operands and replace it without the ``alpha`` that it has: a wrong result, and no word of it. They
    run after this round, hence views count: they may be gone by then.

    Reports ``additions``: how many were written out.
    """

    name: ClassVar[str] = "scaled_addition"

    def __call__(self, graph: fx.Graph) -> None:
        report = get_pass_context().report
        for node in graph.find_nodes(op="call_function", target=aten.add.Tensor):
            if _is_scaled(node) and any(_is_product(operand) for operand in node.args):
                _write_out(node)
                report.count("additions")


def _is_scaled(node: fx.Node) -> bool:
    scale = node.kwargs.get("alpha", 1)
    return bool(isinstance(scale, fx.Node) or scale != 1) and tensor_of(node.args[1]) is not None


def _is_product(operand: Any) -> bool:
    while isinstance(operand, fx.Node) and operand.op == "call_function":
        if operand.target is aten.mm.default:
            return True
        overload = torch_internals.op_overload(operand.target)
        is_view = overload is not None and torch_internals.effects_of(overload).is_view
        if not is_view and operand.target not in (aten.reshape.default, aten.clone.default):
            return False
        operand = operand.args[0]
    return False


def _write_out(node: fx.Node) -> None:
    left, right = node.args
    scale: Any = node.kwargs["alpha"]
    with node.graph.inserting_before(node):
        scaled = node.graph.call_function(aten.mul.Tensor, (right, scale))
    factor = value_of(scale) if isinstance(scale, fx.Node) else scale
    scaled.meta = meta_of([node], aten.mul.Tensor(tensor_of(right), factor))
    node.args, node.kwargs = (left, scaled), {}
