"""Lineage through the real vLLM: split, repeated pieces, lowering; down to the kernels, and back to the model."""

from __future__ import annotations

import re

import pytest
from effort import steps
from vllm_runs import Finished

from cutaway.cli import main
from cutaway.dump import Dump, load
from cutaway.dump.lineage import lineage
from cutaway.record.layers.words import short_name

MM = "layer.cpu_linear = lambda x, weight, bias: ops.onednn_mm(handler, x, bias)"
ADD_NORM = "return ir.ops.fused_add_rms_norm.maybe_inplace("
NORM = "return ir.ops.rms_norm("
SILU = "return F.silu(x[..., :d]) * x[..., d:]"
SPLIT = "q, k, v = qkv.split([self.q_size, self.kv_size, self.kv_size], dim=-1)"
Q_HEADS = "q_by_head = q.view(*q.shape[:-1], q.shape[-1] // self.head_dim, self.head_dim)"
K_HEADS = "k_by_head = k.view(*k.shape[:-1], k.shape[-1] // self.head_dim, self.head_dim)"
ROTATED = [
    ("1.self_attn.rotary_emb", "cos = cos.unsqueeze(-2).to(x.dtype)", "unsqueeze"),
    ("1.self_attn.rotary_emb", "o1 = x1 * cos - x2 * sin", "mul"),
    ("1.self_attn.rotary_emb", "sin = sin.unsqueeze(-2).to(x.dtype)", "unsqueeze"),
    ("1.self_attn.rotary_emb", "o1 = x1 * cos - x2 * sin", "mul sub"),
    ("1.self_attn.rotary_emb", "o2 = x2 * cos + x1 * sin", "mul mul add"),
    ("1.self_attn.rotary_emb", "output = torch.cat((o1, o2), dim=-1)", "cat"),
]
HALVES = ("1.self_attn.rotary_emb", "x1, x2 = torch.chunk(x, 2, dim=-1)", "split getitem getitem")
LOWERED_ADD_NORM, LOWERED_NORM = "add pow mean add rsqrt mul mul", "pow mean add rsqrt mul mul"
PIECE_02: list[tuple[str, str, str]] = [
    ("0.self_attn.o_proj", MM, "empty"),
    ("0.self_attn.attn", "return output.view(-1, hidden_size)", "reshape"),
    ("0.self_attn.o_proj", MM, "onednn_mm"),
    ("0.post_attention_layernorm", ADD_NORM, LOWERED_ADD_NORM),
    ("0.mlp.gate_up_proj", MM, "empty onednn_mm"),
    ("0.mlp.down_proj", MM, "empty"),
    ("0.mlp.act_fn", SILU, "slice neg exp add div slice mul"),
    ("0.mlp.down_proj", MM, "onednn_mm"),
    ("1.input_layernorm", ADD_NORM, LOWERED_ADD_NORM),
    ("1.self_attn.qkv_proj", MM, "empty onednn_mm"),
    ("1.self_attn", SPLIT, "split_with_sizes getitem split_with_sizes getitem"),
    ("1.self_attn.rotary_emb", "cos_sin = cos_sin_cache.index_select(0, positions)", "index"),
    ("1.self_attn.rotary_emb", "cos, sin = cos_sin.chunk(2, dim=-1)", "split getitem getitem"),
    ("1.self_attn", Q_HEADS, "reshape"),
    ("1.self_attn.q_norm", NORM, LOWERED_NORM),
    HALVES,
    ("1.self_attn", K_HEADS, "reshape"),
    ("1.self_attn.k_norm", NORM, LOWERED_NORM),
    HALVES,
    ("1.self_attn", SPLIT, "split_with_sizes getitem"),
    *ROTATED,
    ("1.self_attn.attn", "value = value.view(-1, self.num_kv_heads, self.head_size_v)", "reshape"),
    *ROTATED,
    ("1.self_attn.attn", "output = torch.empty(output_shape, dtype=output_dtype, device=query.device)", "empty"),
    ("1.self_attn.attn", "output = output.view(-1, self.num_heads, self.head_size_v)", "reshape"),
]
"""Hand-made from vLLM's sources: layer, line, and the calls of the last graph that stem from it, in graph order."""
LAST = "backbone/piece_02/range_8_8/post_grad"
SOURCE_NODES = re.compile(r"Source Nodes: \[([^\]]*)\]")


@pytest.fixture(name="dump", scope="module")
def _dump(recorded: Finished) -> Dump:
    return load(recorded.dump)


@pytest.mark.parametrize(
    ("piece", "layer", "code", "maker"),
    [
        ("piece_02", "embed_tokens", "return F.embedding(input_, layer.weight)", "piece_00"),
        ("piece_04", "layers.1.input_layernorm", ADD_NORM, "piece_02"),
        ("piece_06", "layers.2.input_layernorm", ADD_NORM, "piece_04"),
    ],
)
def test_the_residual_goes_from_piece_to_piece(dump: Dump, piece: str, layer: str, code: str, maker: str) -> None:
    """Both ways, the pieces that run uncompiled between them left out."""
    (way, *_) = lineage(dump, f"{piece}/piece:hidden_states").ways
    assert [found.rpartition(": ")[0] for found in way.layers] == [layer]
    assert [found.code for found in way.lines] == [code]
    (made,) = way.made_in
    assert made.piece == maker
    (back,) = lineage(dump, f"backbone/{maker}/piece:{made.nodes[0].name}").ways
    assert (piece, "hidden_states") in [(step.piece, step.nodes[0].name) for step in back.taken_by]


def test_every_node_of_the_last_graph_reaches_its_true_line(dump: Dump) -> None:
    names = [node.name for node in dump.snapshots[LAST].nodes if node.op == "call_function"]
    expected = [(layer, line, operator) for layer, line, calls in PIECE_02 for operator in calls.split()]
    assert len(names) == len(expected)
    targets = {node.name: node.target for node in dump.snapshots[LAST].nodes}
    for name, (layer, line, operator) in zip(names, expected, strict=True):
        way = lineage(dump, f"{LAST}:{name}").ways[0]
        assert short_name(targets[name]).partition(".")[0] == operator, name
        assert [found.code for found in way.lines] == [line], name
        assert [found.rpartition(": ")[0] for found in way.layers] == [f"layers.{layer}"], name
        assert way.steps[0].stage == "captured"


@pytest.mark.parametrize("piece", ["piece_04", "piece_06"])
def test_a_repeated_piece_has_its_own_layers(dump: Dump, piece: str) -> None:
    """Whether it was compiled by itself for a range, or with the piece that it repeats."""
    first = int(piece[-2:]) // 2 - 1
    for compile_range in ("8_8", "1_16", "17_4096"):
        (way,) = lineage(dump, f"{piece}/range_{compile_range}/post_grad:add_tensor_2").ways[:1]
        assert way.layers == (f"layers.{first + 1}.input_layernorm: RMSNorm",)
        assert [node.operator for node in way.captured] == ["ir.fused_add_rms_norm.maybe_inplace"]
        assert {step.piece for step in way.steps if step.range} == {piece}
        assert all(call.piece == piece for call in way.kernels)


def test_every_last_graph_and_every_kernel_is_known(dump: Dump) -> None:
    coverage = lineage(dump, "kernel:*").coverage
    assert coverage.graphs == len([each for each in dump.snapshots.values() if each.stage == "post_grad"])
    assert coverage.known == coverage.nodes
    assert coverage.told == coverage.calls > 30


def test_no_kernel_maps_to_a_wrong_node(dump: Dump) -> None:
    """By what Inductor says itself: a comment above a library's call, a C++ kernel's name."""
    calls = [call for call in lineage(dump, "kernel:*").kernels if call.piece is not None]
    assert len(calls) > 30
    for call in calls:
        lines = (dump.path / (call.file or "")).read_text().splitlines()
        assert f"{call.kernel}(" in lines[call.lines[0] - 1]
        pieces = [
            step
            for node in call.nodes
            for step in lineage(dump, f"{call.selector.rpartition('/')[0]}/post_grad:{node.name}", "piece")
            .ways[0]
            .steps
            if step.stage == "piece"
        ]
        origins = [node for step in pieces for node in step.nodes]
        assert origins
        comment = SOURCE_NODES.search(lines[call.lines[0] - 2])
        if comment is not None:
            assert {node.name for node in origins} == {comment.group(1).split(", ")[-1]}
            continue
        words = call.kernel.removeprefix("cpp_fused_")
        for norm in ("fused_add_rms_norm", "rms_norm", "silu"):
            theirs = norm in words.replace("fused_add_rms_norm", "" if norm == "rms_norm" else "fused_add_rms_norm")
            assert theirs == any(f".{norm}" in f"{node.operator}." for node in origins), (call.kernel, norm)
        assert not any("onednn" in node.operator for node in call.nodes)


def test_whose_lines_are_in_a_kernel(dump: Dump) -> None:
    kernel = next(call.kernel for call in lineage(dump, "layers.0.mlp.act_fn").kernels)
    found = lineage(dump, kernel)
    (group,) = found.groups
    assert {line.code for line in found.sources} == {SILU}
    assert [layer.rpartition(": ")[0] for layer in found.layers] == [f"layers.{i}.mlp.act_fn" for i in range(4)]
    assert len(group.members) == 4 * 3  # layers and ranges; the fourth layer's is in the last piece


def test_layers_are_folded(layers_32: Finished) -> None:
    dump = load(layers_32.dump)
    (group,) = lineage(dump, "layers.*.mlp").groups
    assert len(group.members) == 32
    first, *_ = lineage(dump, "layers.*").groups
    assert first.shown.title.startswith("layers.0")


@pytest.mark.parametrize("question", ["layers.*", "kernel:*", f"{LAST.replace('8_8', '1_4096')}:add_tensor_2"])
def test_an_answer_takes_no_time(layers_32: Finished, question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert steps(lambda: main(["lineage", str(layers_32.dump), question])) < 20e6  # 8 million on the largest
    assert "coverage: " in capsys.readouterr().out
