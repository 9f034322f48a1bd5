"""Small graphs beside vLLM's own fusion passes: run by itself, prints what is amiss in each as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
import vllm.ir.ops as ir
from torch import Tensor
from torch._inductor.decomposition import select_decomp_table
from torch.fx.experimental.proxy_tensor import make_fx
from vllm.compilation.passes.vllm_inductor_pass import VllmPatternReplacement

from cutaway.explain.patterns.child import attempts
from cutaway.explain.patterns.rebuild import Rebuilt
from cutaway.explain.patterns.sources import Source, find_source
from cutaway.record.nodes import TableBuilder

ADD = "vllm.compilation.passes.fusion.add_rms_fusion:AddRMSNormFusionPass"
RESHAPE = "vllm.compilation.passes.fusion.add_rms_fusion:RMSNormReshapeFusionPass"
X, R, W = torch.randn(4, 8, 64), torch.randn(4, 8, 64), torch.ones(64)
Program = Callable[..., Any]


def two_users(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    normed = ir.rms_norm(x, w, 1e-6)
    return normed.reshape(-1, 64), normed.relu()


CASES: dict[str, tuple[str, Program, tuple[Tensor, ...]]] = {
    "match": (ADD, lambda x, r, w: ir.rms_norm(x + r, w, 1e-6), (X, R, W)),
    "op": (ADD, lambda x, r, w: ir.rms_norm(x * r, w, 1e-6), (X, R, W)),
    "dtype": (ADD, lambda x, r, w: ir.rms_norm((x + r).bfloat16(), w, 1e-6), (X, R, W)),
    "constant": (ADD, lambda x, r, w: ir.rms_norm(x + r, w, 1e-4), (X, R, W)),
    "shape": (RESHAPE, lambda x, w: ir.rms_norm(x, w, 1e-6).reshape(-1, 32), (X, W)),
    "users": (RESHAPE, two_users, (X, W)),
    "check": ("checked", lambda x, r, w: ir.rms_norm(x + r, w, 1e-6), (X, R, W)),
}


def answered_no(match: Any) -> bool:
    """A check as a derived pass may have: only two-dimensional activations."""
    return match.kwargs["branch"].meta["val"].dim() == 2


def source_of(name: str) -> Source:
    if name != "checked":
        return find_source(name, {})
    return find_source(f"{__file__}:checked_pass", {})


def checked_pass() -> Any:
    """vLLM's own pattern, registered with a further check."""
    import torch._inductor.pattern_matcher as pm  # noqa: PLC0415
    from vllm.compilation.passes.fusion.add_rms_fusion import AddRMSNormPattern  # noqa: PLC0415

    patterns = pm.PatternMatcherPass("checked")
    pattern: VllmPatternReplacement[Any, Any] = AddRMSNormPattern(1e-6, False)
    with torch._subclasses.FakeTensorMode():
        pm.register_replacement(
            pattern.pattern, pattern.replacement, pattern.get_inputs(), pm.fwd_only, patterns, extra_check=answered_no
        )
    return patterns


def outcome(name: str) -> dict[str, Any]:
    pattern, program, inputs = CASES[name]
    source = source_of(pattern)
    table = select_decomp_table()
    gm = make_fx(program, decomposition_table=table, tracing_mode="fake")(*inputs)
    for node in gm.graph.nodes:  # as Inductor has it when vLLM's passes run
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    found = attempts(source.patterns, Rebuilt(TableBuilder().build(gm)).gm.graph)
    best = min(found, key=lambda each: (not each.matched, -each.got / each.of, len(each.reasons)))
    reasons = [replace_place(reason) for reason in best.reasons]
    return {"matched": best.matched, "got": best.got, "of": best.of, "reasons": reasons}


def replace_place(reason: Any) -> dict[str, str]:
    return {"kind": reason.kind, "text": reason.text, "place": reason.place.rpartition("/")[2]}


if __name__ == "__main__":
    print(json.dumps({name: outcome(name) for name in CASES}))
