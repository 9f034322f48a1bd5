"""Replay of the real vLLM's stages: lowering computes what the graph before it does, and a fault in it is found."""

from __future__ import annotations

import json
import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Finished

from cutaway.cli import main

PIECE = "piece_02/range_1_16"
LOWERING = f"{PIECE}/post_grad.2.VllmIRLowering"
BEFORE = f"{PIECE}/inductor_post_grad.0.reorder_for_locality"


def replay(dump: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """`cutaway replay --json`, which runs the graphs in a process of its own."""
    capsys.readouterr()
    code = main(["replay", str(dump), *arguments, "--json"])
    out, err = capsys.readouterr()
    assert out, err
    return code, json.loads(out)


def test_the_lowering_of_a_piece(recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Its native implementations are the operators' own bodies, so every bit is the same; at any size."""
    code, found = replay(recorded.dump, LOWERING, "--against", BEFORE, "--size", "s72=5", capsys=capsys)
    assert (code, found["outcome"], found["sizes"]) == (0, "same", {"s72": 5})
    verdicts = [result["comparison"]["verdict"] for result in found["results"]]
    assert sorted(verdicts) == ["same"] * 4 + ["unwritten"]  # attention fills the one
    assert set(found["compared"]) <= {"same", "unwritten"}
    assert sum(found["compared"].values()) > 50
    assert (found["part"], found["elsewhere"]) == (None, None)


def test_the_last_graph_of_a_piece(recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """As the piece was cut out, operator by operator."""
    code, found = replay(recorded.dump, f"{PIECE}/post_grad", "--against", "eager", capsys=capsys)
    assert (code, found["outcome"]) == (0, "close")
    assert found["against"] == "backbone/piece_02/piece"
    assert sum(found["compared"].values()) > 10
    assert (found["part"], found["elsewhere"]) == (None, None)


def test_a_piece_within_the_whole_model(recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Its inputs are what the model computes up to there; attention, which needs the engine, gives zeros."""
    code, found = replay(recorded.dump, "piece_02/range_8_8/post_grad", "--against", "backbone/captured", capsys=capsys)
    assert (code, found["outcome"], found["sizes"]) == (0, "close", {"s72": 8})
    assert any(note.startswith("zeros stand in for vllm::") for note in found["notes"])


def test_a_piece_compiled_here(recorded: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Products write to memory that the graph itself has made."""
    code, found = replay(recorded.dump, "piece_08/range_1_16/post_grad", "--against", "compiled", capsys=capsys)
    assert (code, found["outcome"]) == (0, "close")


def break_line(dump: Path, path: Path, line: int, old: str, new: str) -> None:
    """Change a raw file as if it had been recorded so; the two texts are of one length."""
    (manifest,) = dump.glob("*/*/manifest.jsonl")
    before = path.read_bytes()
    rows = before.decode().split("\n")
    rows[line] = rows[line].replace(old, new)
    path.write_bytes("\n".join(rows).encode())
    after = path.read_bytes()
    assert before != after
    assert len(before) == len(after)
    manifest.write_text(manifest.read_text().replace(digest(before), digest(after)))


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def test_a_fault_in_the_lowering_is_found(
    recorded: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sum with the residual became a difference: the node, its layer, the line of the model."""
    dump = tmp_path / "dump"
    shutil.copytree(recorded.dump, dump)
    (file,) = dump.glob("*/*/backbone/*.piece_02/range_1_16/*.VllmIRLoweringPass.py")
    rows = file.read_text().split("\n")
    line = next(place for place, row in enumerate(rows) if "aten.add.Tensor(getitem" in row)
    break_line(dump, file, line, "aten.add.Tensor", "aten.sub.Tensor")
    node = rows[line].split(" = ")[0].strip()
    code, found = replay(dump, LOWERING, "--against", BEFORE, capsys=capsys)
    assert (code, found["outcome"]) == (1, "apart")
    spot = found["part"]
    assert spot["comparison"]["verdict"] == "apart"
    (broken,) = (each for each in [spot["after"], *spot["between"]["after"]] if each["name"] == node)
    assert broken["layer"] == "layers.0.post_attention_layernorm: RMSNorm"
    assert broken["source"]["file"].endswith("layernorm.py")
    assert broken["source"]["code"].startswith("return ir.ops.fused_add_rms_norm")
    assert len(spot["between"]["after"]) < 20
