"""`why pattern` on vLLM's own pass sources: hand-made near misses, and a recorded run in which the pass did not run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Finished

from cutaway.dump import load
from cutaway.explain.patterns import explain_pattern, passes_of

PROGRAM = Path(__file__).with_name("vllm_near_misses.py")
ADD = "vllm.compilation.passes.fusion.add_rms_fusion:AddRMSNormFusionPass"


@pytest.fixture(scope="module", name="outcomes")
def _outcomes() -> dict[str, Any]:
    ran = subprocess.run([sys.executable, str(PROGRAM)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_match(outcomes: dict[str, Any]) -> None:
    assert outcomes["match"] == {"matched": True, "got": 2, "of": 2, "reasons": []}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("op", "rms_norm reads mul = aten.mul, where the pattern has aten.add"),
        ("dtype", "stands between rms_norm and add = aten.add; the pattern has nothing there"),
        ("constant", "epsilon of rms_norm is 0.0001, the pattern has 1e-05"),
        ("shape", "shape[1] of view is 32, the pattern has 64"),
        ("users", "rms_norm has 2 users (view, relu), the pattern allows 1"),
        ("check", "`match.kwargs['branch'].meta['val'].dim() == 2` is false"),
    ],
)
def test_the_reason(outcomes: dict[str, Any], kind: str, text: str) -> None:
    found = outcomes[kind]
    assert not found["matched"]
    assert found["reasons"][0]["kind"] == kind
    assert text in found["reasons"][0]["text"]


def test_a_pass_that_its_configuration_leaves_out(recorded: Finished) -> None:
    dump = load(recorded.dump)
    found = explain_pattern(dump, ADD)
    (absence,) = found.history.absent
    assert "pass_config.fuse_norm_quant=False" in absence.reason
    assert found.matches == []
    norms = {finding.where: finding for finding in found.misses if "rms_norm" in finding.op}
    assert norms["layers.0–3.self_attn.q_norm"].count == 4
    assert norms["layers.0–3.self_attn.q_norm"].reasons[0].kind in ("op", "shape")
    assert norms["layers.0.input_layernorm"].reasons[0].found == "aten.embedding"
    assert found.unknown == []


def test_the_passes_of_a_run(recorded: Finished) -> None:
    history = passes_of(load(recorded.dump))
    runs = {each.name: each for each in history.passes}
    assert runs["VllmIRLoweringPass"].changed == runs["VllmIRLoweringPass"].runs
    assert "pass_config.fuse_act_quant=False" in history.never["ActivationQuantFusionPass"]
