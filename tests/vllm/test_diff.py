"""What the passes of the real vLLM did, in words: goldens, and an exception that is not like the other layers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from vllm_runs import Finished

from cutaway.cli import main
from cutaway.dump import load
from cutaway.dump.diff import Rewrite, diff, match_nodes, predecessor

LOWERING = "post_grad.2.VllmIRLoweringPass"
NORMS = ("rms_norm", "fused_add_rms_norm")


def lowered(run: Finished) -> list[Rewrite]:
    """What the lowering did in the first compile range."""
    return list(load(run.dump).diff(LOWERING)[0].rewrites)


def said(capsys: pytest.CaptureFixture[str], run: Finished, *arguments: str) -> str:
    assert main(["diff", str(run.dump), *arguments]) == 1
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(LOWERING,), (LOWERING, "--brief")])
@pytest.mark.parametrize("name", ["recorded", "layers_32"])
def test_goldens(
    request: pytest.FixtureRequest,
    name: str,
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    snapshot: SnapshotAssertion,
) -> None:
    assert said(capsys, request.getfixturevalue(name), *arguments) == snapshot


@pytest.mark.parametrize(("name", "layers"), [("recorded", 4), ("layers_32", 32)])
def test_the_lowering_names_every_norm(request: pytest.FixtureRequest, name: str, layers: int) -> None:
    """Each norm of the model once, with its provider and what it became, one entry for each pattern of layers."""
    run = request.getfixturevalue(name)
    rewrites = lowered(run)
    found = sorted(str(layer) for rewrite in rewrites for layer in rewrite.layers)
    each = [f"layers.{i}.{norm}" for i in range(layers) for norm in ("input_layernorm", "post_attention_layernorm")]
    each += [f"layers.{i}.self_attn.{norm}" for i in range(layers) for norm in ("q_norm", "k_norm")]
    assert found == sorted([*each, "norm"])
    assert {re.sub(r"\d+", "#", str(layer)) for rewrite in rewrites for layer in rewrite.layers} == {
        "layers.#.input_layernorm",
        "layers.#.post_attention_layernorm",
        "layers.#.self_attn.q_norm",
        "layers.#.self_attn.k_norm",
        "norm",
    }
    assert len(rewrites) == 6  # the first norm of all is another one than those after a residual
    for rewrite in rewrites:
        (norm,) = [op for op in rewrite.before if op != "getitem"]
        assert norm in NORMS
        assert rewrite.kind == "replaced"
        assert rewrite.providers == ("native",)
        assert rewrite.after.count("rsqrt") == 1
    counts = [rewrite.count for rewrite in rewrites]
    assert counts == [1, layers, layers, layers, layers - 1, 1]


def test_the_layer_that_is_not_like_the_others(odd_layer: Finished) -> None:
    """One norm of six has another epsilon: it is an entry of its own, and said to be missing from the others'."""
    rewrites = [each for each in lowered(odd_layer) if "input_layernorm" in str(each.layers)]
    usual, odd = (
        next(each for each in rewrites if set(layers) <= set(each.layers))
        for layers in (["layers.1.input_layernorm"], ["layers.3.input_layernorm"])
    )
    assert usual.layers == tuple(f"layers.{i}.input_layernorm" for i in (1, 2, 4, 5))
    assert odd.layers == ("layers.3.input_layernorm",)
    assert {absent.layers: absent.reason for absent in usual.absent} == {
        ("layers.0.input_layernorm",): "no fused_add_rms_norm there, but rms_norm",
        ("layers.3.input_layernorm",): "fused_add_rms_norm there has the constants 1e-05, not 1e-06",
    }


def test_from_the_capture_to_the_last_graph(recorded: Finished) -> None:
    """Through the split and all passes: which of them did what."""
    (found,) = load(recorded.dump).diff("backbone/captured", "piece_02/range_1_16/post_grad")
    assert found.diff is not None
    assert found.diff.parts[0].recorded
    norms = [each for each in found.rewrites if {"rms_norm", "fused_add_rms_norm.maybe_inplace"} & set(each.before)]
    assert sum(each.count for each in norms) == 4
    assert all(LOWERING in each.passes for each in norms)
    (silu,) = [each for each in found.rewrites if each.before == ("silu",)]
    assert silu.passes == ("aot_forward",)
    assert {"inductor_joint.2.pattern_matcher", "aot_forward", LOWERING} <= {
        name for each in found.rewrites for name in each.passes
    }


def test_structure_finds_what_is_recorded(recorded: Finished) -> None:
    """For the passes over one graph, the pairs that are found without origins are those that are recorded."""
    dump = load(recorded.dump)
    compared = 0
    for snapshot in dump.snapshots.values():
        before = predecessor(snapshot)
        if before is None or snapshot.files == [] or "grad" not in snapshot.stage:
            continue
        if snapshot.stage in ("aot_forward", "before_pre_grad"):
            continue
        exact = diff(before, snapshot)
        assert exact.parts[0].recorded
        assert set(match_nodes(before.table, snapshot.table).pairs) == set(exact.parts[0].matching.pairs)
        compared += 1
    assert compared > 10


def test_two_ranks(two_ranks: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Each rank holds another half of the vocabulary: that is all."""
    ranks = ["--rank", "rank_0_dp_0", "--rank", "rank_1_dp_0"]
    found = json.loads(said(capsys, two_ranks, "post_grad", *ranks, "--json"))
    layers = {layer for each in found["comparisons"] for rewrite in each["rewrites"] for layer in rewrite["layers"]}
    assert layers == {"embed_tokens"}


def test_two_ranges(recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """A graph for any size against that for one: nothing but the size."""
    found = json.loads(said(capsys, recorded, "post_grad", "--range", "1_16", "--range", "8_8", "--json"))
    (compared,) = found["comparisons"]
    assert compared["rewrites"] == []
    assert compared["sizes"] == [["s72", 8]]
    assert main(["diff", str(recorded.dump), "post_grad", "--range", "1_16", "--range", "17_4096"]) == 0


def test_every_graph_has_a_diff(recorded: Finished) -> None:
    """Every pass and stage against the one before it, both ways round."""
    dump = load(recorded.dump)
    for snapshot in dump.snapshots.values():
        before = predecessor(snapshot)
        if before is None:
            continue
        forth: Any = diff(before, snapshot)
        back = diff(snapshot, before)
        assert forth.is_empty == back.is_empty
        assert forth.parts[0].matching == back.parts[0].matching.inverse()
        if snapshot.stage not in ("after_split", "piece"):
            assert {op: -count for op, count in forth.ops_delta.items()} == back.ops_delta
