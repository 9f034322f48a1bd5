"""A decoder of the library's operators through the whole compiler: fusions fire in every layer, results stay."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.ir_decoder import CONTEXT, IrDecoder
from compiler.models import SPLITTING, Sizes

import cutaway
from cutaway.compiler.api import CompiledModel
from cutaway.ops import kernels

LAYERS = 5
NO_FUSIONS = ("pass:add_rms_norm_fusion", "pass:rms_norm_quant_fusion")
CPP = dict.fromkeys(
    (
        "rms_norm", "fused_add_rms_norm", "silu_and_mul", "rotary_embedding", "dynamic_per_token_quant",
        "rms_norm_dynamic_quant", "fused_add_rms_norm_dynamic_quant",
    ),
    ("cpp", "native"),
)  # fmt: skip
PRIORITIES = [pytest.param({}, id="native"), pytest.param(CPP, id="cpp")]


def batch(tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(tokens) * 7 % 128, torch.arange(tokens) % CONTEXT


def compiled(cache: Path, model: torch.nn.Module, **config: Any) -> CompiledModel:
    whole = {"splitting_ops": SPLITTING, "max_batch": 64, "cache_dir": cache, "progress": False}
    return cutaway.compile(model, {**whole, **config}, dynamic_arg_dims={"ids": 0, "positions": 0})


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("quantised", [False, True], ids=["plain", "quantised"])
@torch.no_grad()
def test_results_are_those_of_the_model_and_of_plain_torch(
    priority: dict[str, Any], quantised: bool, tmp_path: Path
) -> None:
    if priority and not kernels.available():
        pytest.skip("no C++ compiler")
    sizes = Sizes(layers=LAYERS)
    eager, plain = IrDecoder(sizes, quantised=quantised), IrDecoder(sizes, plain=True, quantised=quantised)
    model = compiled(tmp_path, IrDecoder(sizes, quantised=quantised), ir_priority=priority)
    for tokens in (16, 1, 2, 33, 64):
        wanted, found = eager(*batch(tokens)), model(*batch(tokens))
        # What is rounded to eight bits may fall on the other side of an edge.
        torch.testing.assert_close(found, wanted, atol=0.1 if quantised else 1e-4, rtol=1e-4)
        torch.testing.assert_close(found, plain(*batch(tokens)), atol=0.1 if quantised else 1e-4, rtol=1e-4)
    assert model.counters.nodes_lowered > 0


@pytest.mark.parametrize("quantised", [False, True], ids=["plain", "quantised"])
@torch.no_grad()
def test_fusions_fire_in_every_layer(quantised: bool, tmp_path: Path) -> None:
    """Unsplit, every layer is compiled, so that matches can be counted: two sums a layer feed a normalisation."""
    model = compiled(tmp_path, IrDecoder(Sizes(layers=LAYERS), quantised=quantised), off=["split"])
    model(*batch(16))
    sums, quantisations = 2 * LAYERS, 2 * LAYERS if quantised else 0
    assert model.counters.patterns_matched == sums + quantisations
    rotary, activations, norm = LAYERS, LAYERS, 1
    assert model.counters.nodes_lowered == sums + norm + rotary + activations


@torch.no_grad()
def test_the_dump_names_every_layer_s_fused_operator_and_its_provider(tmp_path: Path) -> None:
    with cutaway.record(tmp_path / "dump"):
        model = compiled(tmp_path / "cache", IrDecoder(Sizes(layers=LAYERS), quantised=True))
        model(*batch(16))
    backbone = cutaway.load(tmp_path / "dump")["backbone"]
    fused: Counter[str] = Counter()
    for piece in backbone.pieces:
        compiled_as = piece.same_as or piece.name
        passes = {step.pass_name: step for step in backbone.snapshots if step.piece == compiled_as}
        if "ir_lowering" in passes:
            after_fusion, lowered = passes["rms_norm_quant_fusion"], passes["ir_lowering"]
            operators = {node.name: node.target for node in after_fusion.nodes if "cutaway_ir" in node.target}
            assert set(after_fusion.providers) == set(operators), "every one is foretold a provider"
            assert len(lowered.providers) == len(operators), "every one took one"
            fused.update(target.split(".")[1] for target in operators.values() if "norm" in target)
    expected = {
        "rms_norm_dynamic_quant": 1,
        "fused_add_rms_norm_dynamic_quant": 2 * LAYERS - 1,
        "fused_add_rms_norm": 1,
    }
    assert fused == expected


@torch.no_grad()
def test_a_warm_start_lowers_nothing(tmp_path: Path) -> None:
    first = compiled(tmp_path, IrDecoder(Sizes(layers=LAYERS)))
    wanted = first(*batch(16))
    torch.compiler.reset()
    second = compiled(tmp_path, IrDecoder(Sizes(layers=LAYERS)))
    assert torch.equal(second(*batch(16)), wanted)
    assert second.counters.nodes_lowered == second.counters.backend_compilations == 0
    third = compiled(tmp_path, IrDecoder(Sizes(layers=LAYERS)), ir_priority={"rms_norm": ["torch", "native"]})
    third(*batch(16))
    assert third.counters.backend_compilations > 0  # another implementation is other code


@torch.no_grad()
def test_without_the_passes_the_operators_run_as_they_are(tmp_path: Path) -> None:
    wanted = IrDecoder(Sizes(layers=2))(*batch(16))
    for off, lowered in ((["passes"], True), (["pass:ir_lowering"], False), (NO_FUSIONS, True), (["inductor"], False)):
        model = compiled(tmp_path, IrDecoder(Sizes(layers=2)), off=off)
        torch.testing.assert_close(model(*batch(16)), wanted, atol=1e-4, rtol=1e-4)
        assert (model.counters.patterns_matched > 0) is (off == ["pass:ir_lowering"])
        assert (model.counters.nodes_lowered > 0) is lowered
