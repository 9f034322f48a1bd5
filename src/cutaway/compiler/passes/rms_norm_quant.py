"""A normalisation and the quantisation of what it returns become one operator."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.fusion import Fusion, FusionPass, Match, are_registered, part, parts_of, place_for
from cutaway.compiler.passes.graph import meta_of
from cutaway.ops import registry

_NORMS = {"rms_norm": ("x", "weight", "epsilon"), "fused_add_rms_norm": ("x", "x_residual", "weight", "epsilon")}
_QUANTS = {"static": ("static_quant", ("scale", "dtype")), "dynamic": ("dynamic_per_token_quant", ("dtype",))}


@dataclass(frozen=True)
class RmsNormQuantFusion(FusionPass):
    """``rms_norm`` or ``fused_add_rms_norm``, then ``static_quant`` or ``dynamic_per_token_quant``: four patterns.

    Only where the quantisation is the one user of what is normalised; the sum of ``fused_add_rms_norm`` keeps its
    users. A scale must exist before they read it.

    Idea: vLLM's ``RMSNormQuantFusionPass``, which has a pattern for each epsilon and each key of a quantisation.
    """

    name: ClassVar[str] = "rms_norm_quant_fusion"
    produces: ClassVar[Mapping[str, Sequence[str]]] = {
        f"{norm}_{kind}_quant": (norm, quant) for norm in _NORMS for kind, (quant, _) in _QUANTS.items()
    }

    def fusions(self) -> Sequence[Fusion]:
        found: list[Fusion] = []
        for norm in _NORMS:
            for kind, (quant, _) in _QUANTS.items():
                name = f"{norm}_{kind}_quant"
                if are_registered(norm, quant, name):
                    found.append(_fusion(name, norm, kind))
        return found


def _fusion(name: str, norm: str, kind: str) -> Fusion:
    adds = norm == "fused_add_rms_norm"
    replace = partial(_replace_sum, name, norm) if adds else partial(_replace, name)
    why_not: Callable[[Match], str] = partial(_why_not_sum, norm) if adds else lambda _: ""
    return Fusion(name, partial(_expression, norm, kind), replace, why_not)


def _expression(norm: str, kind: str) -> Any:
    matcher = torch_internals.pattern_matcher()
    quant, names = _QUANTS[kind]
    given = [matcher.KeywordArg(name) for name in _NORMS[norm]]
    if norm == "rms_norm":
        normed = matcher.CallFunction(registry[norm].torch_op, *given)
    else:
        both = matcher.CallFunction(registry[norm].torch_op, *given, _users=matcher.MULTIPLE)
        normed = matcher.CallFunction(operator.getitem, both, 0)
    return matcher.CallFunction(registry[quant].torch_op, normed, *(matcher.KeywordArg(name) for name in names))


def _call(name: str, match: Match) -> fx.Node:
    """The fused operator, its arguments by the names that the patterns give them, too."""
    fused = registry[name]
    return match.graph.call_function(fused.torch_op, tuple(match.values[name] for name in fused.signature.parameters))


def _replace(name: str, match: Match) -> None:
    quant = match.root
    with match.graph.inserting_before(quant):
        fused = _call(name, match)
    fused.meta = meta_of(match.nodes, quant.meta["val"])
    quant.replace_all_uses_with(fused)
    _erase(match)


def _why_not_sum(norm: str, match: Match) -> str:
    both = match.calls(registry[norm].torch_op)
    if len(parts_of(both, 0)) > 1:
        return "what is normalised has other users"
    if _is_used_whole(both) or (_is_several(match.root) and _is_used_whole(match.root)):
        return "its results are used together"
    return _place(norm, match)[1]


def _place(norm: str, match: Match) -> tuple[fx.Node, str]:
    both = match.calls(registry[norm].torch_op)
    return place_for(match, both, [user for one in parts_of(both, 1) for user in one.users])


def _is_several(node: fx.Node) -> bool:
    return isinstance(node.meta["val"], (tuple, list))


def _is_used_whole(node: fx.Node) -> bool:
    return len(parts_of(node)) != len(node.users)


def _replace_sum(name: str, norm: str, match: Match) -> None:
    graph, quant, both = match.graph, match.root, match.calls(registry[norm].torch_op)
    made = quant.meta["val"]
    total = both.meta["val"][1]
    sums = parts_of(both, 1)
    with graph.inserting_before(_place(norm, match)[0]):
        fused = _call(name, match)
        fused.meta = meta_of(match.nodes, (*made, total) if _is_several(quant) else (made, total))
        quantised = fused if _is_several(quant) else part(graph, fused, 0, [quant], made)
        residual = part(graph, fused, len(fused.meta["val"]) - 1, sums or [both], total) if sums else None
    quant.replace_all_uses_with(quantised)
    for one in sums:
        assert residual is not None
        one.replace_all_uses_with(residual)
        graph.erase_node(one)
    _erase(match)


def _erase(match: Match) -> None:
    for node in reversed(match.nodes):
        match.graph.erase_node(node)
