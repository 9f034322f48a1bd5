"""What people read: goldens of every command's text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump
from syrupy.assertion import SnapshotAssertion

LOWERING = "range_1_4096/post_grad.2.VllmIRLoweringPass"


@pytest.mark.parametrize("command", ["", "run", "ls", "show", "verify"])
def test_help(cutaway: Any, command: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway(*command.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


@pytest.mark.parametrize("options", ["", "--all", "piece_02/range_8_8", "backbone.2"])
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


def test_verify_of_a_damaged_dump(
    cutaway: Any, dump: str, process: Path, snapshot: SnapshotAssertion
) -> None:
    (process / "backbone/99.execution_code.py").unlink()
    with (process / "backbone/00.captured.py").open("a") as file:
        file.write("more")
    ran = cutaway("verify", dump)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot
