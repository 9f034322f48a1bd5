"""A dump of a decoder in which a pass fuses norm and quantisation, in all layers but some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dump_maker import DumpMaker
from table_maker import TableMaker

PASS = "backbone/post_grad.3.RMSNormQuantFusionPass"


def layer(
    maker: TableMaker, i: int, hidden: dict[str, Any], fused: bool, odd: str, origins: dict[str, list[int]]
) -> dict[str, Any]:
    """One layer: norm, quantisation, matrix product; `origins` by the name of the node."""
    norm, mlp = f"layers.{i}.input_layernorm", f"layers.{i}.mlp"
    weights = [maker.input(f"self.{norm}.weight", [256]), maker.input(f"self.{mlp}.down_proj.weight", [256, 256])]
    known = {"source": 0}
    if fused:
        name = f"rms_norm_quant_{i}"
        args, dtype = [hidden, weights[0], 1e-06], "float8_e4m3fn"
        made = maker.call("_C.rms_norm_quant.default", args, norm, name=name, dtype=dtype, **known)
        made["from"] = origins[f"norm_{i}"] + origins[f"quant_{i}"]
    else:
        made = maker.call(
            "vllm_ir.rms_norm.default", [hidden, weights[0], 1e-05 if odd == "constant" else 1e-06], norm,
            name=f"norm_{i}", provider="native", **known,
        )  # fmt: skip
        if odd != "missing":
            made = maker.call("vllm.quant_fp8.default", [made], norm, name=f"quant_{i}", dtype="float8_e4m3fn", **known)
    return maker.call("aten.mm.default", [made, weights[1]], mlp, name=f"mm_{i}")


def table(layers: int, odd: dict[int, str], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The graph before the pass, or after it when the graph before is given."""
    classes = {"": "Model", "norm": "RMSNorm"}
    for i in range(layers):
        classes |= {
            f"layers.{i}": "DecoderLayer",
            f"layers.{i}.input_layernorm": "RMSNorm",
            f"layers.{i}.mlp": "MLP",
        }
    maker = TableMaker(classes)
    origins = {node["name"]: [node["id"]] for node in before["nodes"]} if before else {}
    hidden = maker.input("hidden_states", ["s72", 256])
    for i in range(layers):
        hidden = layer(maker, i, hidden, before is not None and i not in odd, odd.get(i, ""), origins)
    maker.output(maker.call("vllm_ir.rms_norm.default", [hidden, 1e-06], "norm", name="norm"))
    if before:
        for node in maker.nodes:
            node.setdefault("from", origins.get(node["name"], []))
    return maker.table()


def fused_dump(root: Path, layers: int = 8, odd: dict[int, str] | None = None) -> Path:
    """A dump with the graph before and after the pass.

    Args:
        root: where to.
        layers: how many.
        odd: layer -> why it is not fused: "missing" (no quantisation there), "constant" (another epsilon).
    """
    maker = DumpMaker(root / "run_001" / "rank_0_dp_0")
    maker.compilation("backbone")
    before = table(layers, odd or {})
    after = table(layers, odd or {}, before)
    maker.snapshot("backbone/before_post_grad", "before_post_grad", before, "backbone/00.before_post_grad")
    changed = {"changed": True, "pass": "RMSNormQuantFusionPass", "number": 3, "ms": 1.5}
    maker.ran("backbone/post_grad.2.NoOpEliminationPass", "custom_pass", len(before["nodes"]))
    maker.snapshot(PASS, "custom_pass", after, "backbone/01.fused", **changed)
    maker.end("backbone")
    maker.end()
    return root
