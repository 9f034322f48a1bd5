"""`cutaway lineage`: what it prints, its JSON, how it exits, and what it makes of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lineage_maker import make_lineage_dump
from syrupy.assertion import SnapshotAssertion


@pytest.fixture(name="tiny")
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dump that is called `tiny`, seen from the current folder."""
    monkeypatch.chdir(tmp_path)
    make_lineage_dump(tmp_path / "tiny" / "run_001" / "rank_0_dp_0", more_code="torch.ops.aten.sort.default(buf0)")
    return "tiny"


def test_help(cutaway: Any, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("lineage", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


@pytest.mark.parametrize(
    "arguments",
    [
        ("piece_02/range_8_8/post_grad:div_norm",),
        ("piece_04/range_8_8/post_grad:div_norm",),
        ("tiny.py:8",),
        ("tiny.py:6",),
        ("layers.*",),
        ("cpp_fused_neg_0",),
        ("after_split:submod_2",),
        ("torch.ops.aten.sort.default",),
        ("div_norm", "--all"),
        ("tiny.py:8", "--stage", "aot*"),
    ],
    ids=" ".join,
)
def test_what_is_printed(cutaway: Any, tiny: str, arguments: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    ran = cutaway("lineage", tiny, *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


def test_json(cutaway: Any, tiny: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("lineage", tiny, "piece_02/range_8_8/post_grad:div_norm", "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["coverage"] == {"graphs": 1, "nodes": 3, "known": 3, "calls": 3, "told": 2}
    (group,) = found["groups"]
    assert [member["layers"] for member in group["members"]] == [
        ["layers.0.mlp: Mlp", "layers.1.norm: Norm"],
        ["layers.1.mlp: Mlp", "layers.2.norm: Norm"],
    ]
    assert found == snapshot


def test_its_shape_does_not_depend_on_the_question(cutaway: Any, tiny: str) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return "list" if isinstance(value, list) else "value"

    shapes: list[Any] = []
    for question in ("tiny.py:8", "layers.1", "cpp_fused_neg_0", "name:neg", "torch.ops.aten.sort.default"):
        found = json.loads(cutaway("lineage", tiny, question, "--json").out)
        shapes.append((shape(found), [shape(group) for group in found["groups"][:1]]))
        shapes[-1] += (shape(found["groups"][0]["ways"][0]), shape(found["groups"][0]["ways"][0]["kernels"][0]))
    assert all(each == shapes[0] for each in shapes)


@pytest.mark.parametrize("question", ["div_nrom", "tiny.py:99", "captured:nothing", "nowhere:x", "layers.9.mlp"])
def test_nothing_is_called_so(cutaway: Any, tiny: str, question: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("lineage", tiny, question)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == snapshot


def test_a_dump_without_origins_is_answered_as_far_as_it_goes(
    cutaway: Any, dump: str, snapshot: SnapshotAssertion
) -> None:
    """Node tables without origins: what is unknown is said to be unknown."""
    ran = cutaway("lineage", dump, "piece_02/range_8_8/post_grad:fused_norm")
    assert (ran.code, ran.err) == (0, "")
    assert "unknown" in ran.out
    assert ran.out == snapshot
