"""Lineage of a decoder with pattern-matcher fusions, compiled by torch: each node's true lines, each kernel's nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import fx
from torch._inductor import config
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._inductor.pattern_matcher import PatternMatcherPass, fwd_only, register_replacement

import cutaway
from cutaway.dump import Dump, load
from cutaway.dump.lineage import KernelCall, lineage, node_at

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_decoder import LINES, WIDTH, Decoder

NORM = {"pow", "scale", "weight"}
LAYER: list[tuple[str, set[str], set[str]]] = [
    ("tiny_decoder.norm", NORM, {"input_norm"}),
    ("aten.mm", {"qkv"}, {"attn"}),
    ("aten.split", {"parts"}, {"attn"}),
    *[("operator.getitem", {"parts"}, {"attn"})] * 3,
    ("tiny_decoder.norm", NORM, {"attn.q_norm"}),
    ("aten.permute", {"scores"}, {"attn"}),
    ("aten.mm", {"scores"}, {"attn"}),
    ("aten.amax", {"softmax"}, {"attn"}),
    ("aten.sub", {"softmax"}, {"attn"}),
    ("aten.exp", {"softmax"}, {"attn"}),
    ("aten.sum.dim_IntList", {"softmax"}, {"attn"}),
    ("aten.div", {"softmax"}, {"attn"}),
    ("aten.mm", {"values"}, {"attn"}),
    ("aten.addmm", {"out", "first sum"}, {"attn", ""}),
    ("tiny_decoder.norm", NORM, {"post_norm"}),
    ("aten.mm", {"gate_up"}, {"mlp"}),
    ("aten.split", {"halves"}, {"mlp"}),
    *[("operator.getitem", {"halves"}, {"mlp"})] * 2,
    ("tiny_decoder.gated", {"gated"}, {"mlp"}),
    ("tiny_decoder.norm", NORM, {"mlp.mid_norm"}),
    ("aten.addmm", {"down", "second sum"}, {"mlp", ""}),
]
"""Hand-made: each call of the last graph, the lines it stems from, and the layers, seen from the decoder layer."""
LIBRARIES = ("extern_kernels.", "torch.ops.")
SOURCE_NODES = re.compile(r"Source Nodes: \[([^\]]*)\]")


class Fusions(CustomGraphPass):
    """Puts one operator in the place of a norm, and one in that of the gate, which stand next to each other."""

    def __init__(self) -> None:
        self.patterns = PatternMatcherPass(pass_name="fusions")
        self.count = 0

        def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-06) * weight

        def fused_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return torch.ops.tiny_decoder.norm(x, weight)

        def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
            return gate * torch.sigmoid(gate) * up

        def fused_gate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
            return torch.ops.tiny_decoder.gated(gate, up)

        inputs = [torch.empty(5, WIDTH), torch.empty(WIDTH)]
        register_replacement(norm, fused_norm, inputs, fwd_only, self.patterns)  # pyright: ignore[reportArgumentType]
        halves = [torch.empty(5, WIDTH), torch.empty(5, WIDTH)]
        register_replacement(gated, fused_gate, halves, fwd_only, self.patterns)  # pyright: ignore[reportArgumentType]

    def __call__(self, graph: fx.Graph) -> None:
        self.count += self.patterns.apply(graph)

    def uuid(self) -> bytes | None:
        return None


@pytest.fixture(name="dump", scope="module")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    path, fusions, model = tmp_path_factory.mktemp("lineage"), Fusions(), Decoder()
    x = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(1))
    torch._dynamo.reset()
    with torch.no_grad(), cutaway.record(path):
        with torch.compiler.config.patch(cache_key_tag="lineage"), config.patch(post_grad_custom_pre_pass=fusions):
            result = torch.compile(model)(x)
        torch.testing.assert_close(result, model(x))
    assert fusions.count >= 11  # nine norms, two gates
    return load(path)


def calls_of(dump: Dump, selector: str) -> list[str]:
    """The calls of a last graph, by name."""
    return [node.name for node in dump.snapshots[selector].nodes if node.op == "call_function"]


def test_every_node_of_the_last_graph_reaches_its_true_lines(dump: Dump) -> None:
    last = "Decoder.forward/post_grad"
    names = calls_of(dump, last)
    expected = [(number, *entry) for number in range(2) for entry in LAYER]
    assert len(names) == len(expected) + 1
    for name, (number, operator, lines, layers) in zip(names[:-1], expected, strict=True):
        found = lineage(dump, f"{last}:{name}")
        (way,) = found.ways
        assert way.nodes[0].operator == operator
        assert {line.code for line in found.sources} == {LINES[line] for line in lines}, name
        assert {layer.rpartition(": ")[0] for layer in found.layers} == {
            f"layers.{number}.{layer}".rstrip(".") for layer in layers
        }, name
        assert {node.name for node in found.captured} == {node.name for node in way.steps[0].nodes}
        assert found.steps[0].leaf == "captured"
        assert not way.unknown
    (last_norm,) = lineage(dump, f"{last}:{names[-1]}").ways
    assert last_norm.layers == ("norm: Norm",)
    assert {line.code for line in last_norm.lines} == {LINES[line] for line in NORM}


def test_all_is_known(dump: Dump) -> None:
    coverage = lineage(dump, "layer:*").coverage
    assert coverage.graphs == 1
    assert coverage.known == coverage.nodes == 2 * len(LAYER) + 1
    assert coverage.told == coverage.calls
    assert coverage.calls >= 2 * 10 + 1


def kernels(dump: Dump) -> Sequence[KernelCall]:
    """All calls, in the order of the text."""
    return sorted(lineage(dump, "kernel:*").kernels, key=lambda call: call.lines)


def test_each_call_of_a_kernel_stands_in_its_line(dump: Dump) -> None:
    text = dump.codes["Decoder.forward/output_code"].text.splitlines()
    lines: dict[str, list[int]] = {}
    for call in kernels(dump):
        (line,) = call.lines
        assert f"{call.kernel}(" in text[line - 1]
        lines.setdefault(call.kernel, []).append(line)
        assert len(lines[call.kernel]) == call.number
    assert all(found == sorted(set(found)) for found in lines.values())
    assert len(lines["extern_kernels.mm"]) == 2 * 4
    assert len(lines["torch.ops.tiny_decoder.norm.default"]) == 2 * 4 + 1


def test_no_kernel_maps_to_a_wrong_node(dump: Dump) -> None:
    """By Inductor's own comment above a call: the captured nodes it knows of. Of a fused node it knows the last one."""
    text = dump.codes["Decoder.forward/output_code"].text.splitlines()
    witnessed = 0
    for call in kernels(dump):
        comments = [SOURCE_NODES.search(line) for line in text[call.lines[0] - 2 : call.lines[0] - 1]]
        if not (comments and comments[0]):
            assert call.kernel.startswith("cpp_fused_")  # a C++ kernel has its witness in its name
            assert call.kernel.removeprefix("cpp_fused_").startswith("_softmax")
            assert {node.operator for node in call.nodes} <= {entry[0] for entry in LAYER if "softmax" in entry[1]}
            continue
        theirs = set(comments[0].group(1).split(", "))
        ours = lineage(dump, f"Decoder.forward/post_grad:{call.nodes[0].name}").captured
        assert len(call.nodes) == 1
        assert ours[-1].name in theirs, (call, theirs)
        assert list(comments[0].group(1).split(", "))[-1] == ours[-1].name
        witnessed += 1
    assert witnessed >= 0.8 * len(kernels(dump))


def test_from_a_line_to_its_kernel_and_back(dump: Dump) -> None:
    line = next(way.lines[0] for way in lineage(dump, "layers.0.mlp").ways if way.lines[0].code == LINES["gated"])
    found = lineage(dump, line.short)
    assert (found.kind, len(found.groups), len(found.groups[0].members)) == ("source", 1, 2)
    (call,) = found.groups[0].shown.ways[0].kernels
    assert call.kernel == "torch.ops.tiny_decoder.gated.default"
    back = lineage(dump, f"{call.kernel}#{call.number}")
    assert (back.kind, back.sources, back.layers) == ("kernel", (line,), ("layers.0.mlp: Mlp",))
    assert lineage(dump, "captured:hidden").sources == (line,)


def test_what_a_fusion_replaced(dump: Dump) -> None:
    found = lineage(dump, "layers.1.post_norm")
    (call,) = found.kernels
    assert (call.kernel, len(call.nodes)) == ("torch.ops.tiny_decoder.norm.default", 1)
    steps = {step.leaf: [node.operator for node in step.nodes] for step in found.steps}
    passes = [leaf for leaf, nodes in steps.items() if nodes == ["tiny_decoder.norm"]]
    assert passes[0].endswith(".fusions")
    assert node_at(dump, f"post_grad:{call.nodes[0].name}").node.target == "tiny_decoder.norm.default"


def test_gradients_stem_from_what_they_are_gradients_of(tmp_path: Path) -> None:
    model = Decoder(layers=1)
    x = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(1))
    with cutaway.record(tmp_path):
        torch.compile(model)(x).sum().backward()
    found = lineage(load(tmp_path), "layer:*")
    assert found.coverage.graphs == 2
    assert found.coverage.known == found.coverage.nodes
    assert found.coverage.told == found.coverage.calls
    gate = next(way for way in found.ways if way.lines[0].code == LINES["gated"])
    phases = {call.phase for call in gate.kernels}
    assert phases == {"forward", "backward"}
