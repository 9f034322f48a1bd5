"""What people read: goldens of every command's text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump, make_process, manifest, piece
from syrupy.assertion import SnapshotAssertion

LOWERING = "range_1_4096/post_grad.2.VllmIRLoweringPass"


@pytest.mark.parametrize("command", ["", "run", "ls", "show", "verify"])
def test_help(cutaway: Any, command: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway(*command.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


@pytest.mark.parametrize("options", ["", "--all", "backbone", "piece_02/range_8_8", "range_8_8/NoOp", "backbone.2"])
def test_ls(cutaway: Any, dump: str, options: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("ls", dump, *options.split())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


def test_ls_of_one_run_of_several_that_was_killed(
    cutaway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.chdir(tmp_path)
    make_dump(tmp_path / "dump", runs=2, layers=8, ended=False)
    assert cutaway("ls", "dump").out == snapshot


def test_ls_of_repeated_pieces_that_were_compiled_by_themselves(cutaway: Any, tmp_path: Path) -> None:
    """One through the same graphs as the first, which is counted; one through others, which is listed."""
    maker = make_process(tmp_path / "p")
    for name, lowered in (("piece_04", True), ("piece_06", False)):
        here = f"backbone/{name}/range_1_4096"
        for leaf, table in (
            ("before_post_grad", piece(0)),
            ("post_grad.2.VllmIRLoweringPass", piece(0, lowered=True)),
            ("post_grad", piece(0, lowered=lowered)),
        ):
            maker.snapshot(f"{here}/{leaf}", "post_grad", table, f"backbone/{name}/{leaf}")
    # The first piece for one range only, so that the second went through the same.
    events = [event for event in manifest(tmp_path / "p") if event.get("range") != "8_8"]
    (tmp_path / "p" / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    out = cutaway("ls", str(tmp_path / "p"), "backbone").out
    assert "piece_04: compiled too, and the same" in out
    assert "backbone/piece_06/range_1_4096/post_grad " in out
    assert "backbone/piece_04/range_1_4096/post_grad " not in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("backbone/captured",),
        ("backbone/captured", "--only", "layers.3.mlp"),
        ("piece_06/piece", "--unfold"),
        (LOWERING, "--raw"),
        (LOWERING, "--code"),
        (LOWERING, "--nodes"),
        ("piece_06", "--nodes"),
        ("execution_code",),
        ("backbone/range_8_8/cpp_fused_norm_0",),
    ],
)
def test_show(cutaway: Any, dump: str, arguments: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    ran = cutaway("show", dump, *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


def test_verify_of_a_whole_dump(cutaway: Any, dump: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("verify", dump)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


def test_verify_of_a_damaged_dump(cutaway: Any, dump: str, process: Path, snapshot: SnapshotAssertion) -> None:
    (process / "backbone/99.execution_code.py").unlink()
    with (process / "backbone/00.captured.py").open("a") as file:
        file.write("more")
    ran = cutaway("verify", dump)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot
