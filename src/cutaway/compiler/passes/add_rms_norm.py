"""The addition of a residual and the normalisation of the sum become one operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.fusion import Fusion, FusionPass, Match, are_registered, part, place_for
from cutaway.compiler.passes.graph import is_contiguous, meta_of, same_sizes, tensor_of
from cutaway.ops import registry

_ADD = torch.ops.aten.add.Tensor


@dataclass(frozen=True)
class AddRmsNormFusion(FusionPass):
    """``rms_norm(x + residual, weight, epsilon)`` becomes ``fused_add_rms_norm``; the sum keeps its other users.

    Only where that is exact: two tensors of one shape and dtype, a factor of 1, a sum that lies contiguous (the fused
    operator's does), and a weight that exists before others read the sum.

    Idea: vLLM's ``AddRMSNormFusionPass``, which has a pattern for each of two epsilons and each order of the operands.
    """

    name: ClassVar[str] = "add_rms_norm_fusion"
    produces: ClassVar[Mapping[str, Sequence[str]]] = {"fused_add_rms_norm": ("rms_norm",)}

    def fusions(self) -> Sequence[Fusion]:
        if not are_registered("rms_norm", "fused_add_rms_norm"):
            return ()
        return (Fusion("add_rms_norm", _expression, _replace, _why_not),)


def _expression() -> Any:
    matcher = torch_internals.pattern_matcher()
    total = matcher.CallFunction(_ADD, matcher.KeywordArg("x"), matcher.KeywordArg("residual"), _users=matcher.MULTIPLE)
    weight, epsilon = matcher.KeywordArg("weight"), matcher.KeywordArg("epsilon")
    return matcher.CallFunction(registry["rms_norm"].torch_op, total, weight, epsilon)


def _why_not(match: Match) -> str:
    add = match.calls(_ADD)
    x, residual, total = (tensor_of(node) for node in (match.values["x"], match.values["residual"], add))
    if x is None or residual is None or total is None:
        return "a number is added"
    if add.kwargs.get("alpha", 1) != 1:
        return f"what is added is taken {add.kwargs['alpha']} times"
    if not same_sizes(x.shape, residual.shape):
        return "one operand is broadcast"
    if not x.dtype is residual.dtype is total.dtype:
        return "the operands are of different dtypes"
    if not x.device == residual.device == total.device:
        return "the operands lie on different devices"
    if not is_contiguous(total):
        return "the sum does not lie contiguous"
    return _place(match)[1]


def _place(match: Match) -> tuple[fx.Node, str]:
    add = match.calls(_ADD)
    return place_for(match, add, [user for user in add.users if user is not match.root])


def _replace(match: Match) -> None:
    graph, add, norm = match.graph, match.calls(_ADD), match.root
    x, residual, weight, epsilon = (match.values[name] for name in ("x", "residual", "weight", "epsilon"))
    with graph.inserting_before(_place(match)[0]):
        fused = graph.call_function(registry["fused_add_rms_norm"].torch_op, (x, residual, weight, epsilon))
        fused.meta = meta_of([add, norm], (norm.meta["val"], add.meta["val"]))
        normed = part(graph, fused, 0, [norm], norm.meta["val"])
        total = part(graph, fused, 1, [add], add.meta["val"])
    norm.replace_all_uses_with(normed)
    graph.erase_node(norm)
    add.replace_all_uses_with(total)
    graph.erase_node(add)
