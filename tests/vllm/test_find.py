"""Nodes of the real vLLM found: by operator, layer, kernel, and the pass that touched them."""

from __future__ import annotations

import pytest
from vllm_runs import Finished

from cutaway.dump import Dump, load
from cutaway.dump.query import find_nodes, fold


@pytest.fixture(name="dump")
def _dump(recorded: Finished) -> Dump:
    return load(recorded.dump)


def forms(dump: Dump, query: str) -> list[tuple[int, str, str, list[str]]]:
    return [(form.count, form.op, form.where, form.lacking) for form in fold(find_nodes(dump, query))]


def test_the_norms_of_a_decoder(dump: Dump) -> None:
    assert forms(dump, "op:*rms_norm* stage:captured") == [
        (1, "ir.rms_norm", "layers.0.input_layernorm", [f"layers.{i}.input_layernorm" for i in (1, 2, 3)]),
        (4, "ir.rms_norm", "layers.0–3.self_attn.q_norm", []),
        (4, "ir.rms_norm", "layers.0–3.self_attn.k_norm", []),
        (4, "ir.fused_add_rms_norm.maybe_inplace", "layers.0–3.post_attention_layernorm", []),
        (3, "ir.fused_add_rms_norm.maybe_inplace", "layers.1–3.input_layernorm", ["layers.0.input_layernorm"]),
        (1, "ir.fused_add_rms_norm.maybe_inplace", "norm", []),
    ]


def test_every_norm_is_lowered(dump: Dump) -> None:
    every = {hit.selector for hit in find_nodes(dump, "op:*rms_norm* stage:captured").hits}
    lowered = {hit.selector for hit in find_nodes(dump, "op:*rms_norm* stage:captured pass:VllmIRLoweringPass").hits}
    assert len(every) == 17
    assert lowered == every
    assert not find_nodes(dump, "op:*rms_norm* stage:post_grad").hits


def test_layers_that_were_compiled_with_another_are_found(dump: Dump) -> None:
    """Only one of the equal pieces in the middle has snapshots of most ranges."""
    for sizes in ("8_8", "1_16", "17_4096"):
        found = forms(dump, f"op:_C.onednn_mm layer:*.mlp stage:post_grad range:{sizes}")
        assert [(count, where) for count, _, where, _ in found] == [
            (4, "layers.0–3.mlp.gate_up_proj"),
            (4, "layers.0–3.mlp.down_proj"),
        ]


def test_nodes_of_kernels(dump: Dump) -> None:
    in_kernels = find_nodes(dump, "kernel:* stage:post_grad compilation:backbone").hits
    assert {hit.view.piece for hit in in_kernels} == {f"piece_{i:02d}" for i in range(0, 9, 2)}
    silu = find_nodes(dump, "kernel:*silu* op:exp").hits
    assert {hit.layer for hit in silu} == {f"layers.{i}.mlp.act_fn" for i in range(4)}


def test_where_a_line_of_the_model_is(dump: Dump) -> None:
    (norm, *_) = find_nodes(dump, "op:rms_norm stage:captured").hits
    assert norm.source is not None
    line = f"source:{norm.source.file.rpartition('/')[2]}:{norm.source.line}"
    stages = {hit.view.snapshot.stage for hit in find_nodes(dump, line).hits}
    assert {"captured", "piece", "aot_forward", "post_grad"} <= stages


def test_a_frame_of_it(dump: Dump) -> None:
    pytest.importorskip("pandas")
    frame = dump.to_frame("nodes", "post_grad")
    assert len(frame) == sum(each.node_count for each in dump.snapshots.values() if each.stage == "post_grad")
    assert len(frame[frame.layer.isna() & frame.op.eq("call_function")]) == 0
    kernels = dump.to_frame("kernels")
    assert kernels[kernels.kernel.str.startswith("cpp_")].file.notna().all()
