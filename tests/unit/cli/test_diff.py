"""`cutaway diff`: what people and programs read, and what it answers to bad use."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, piece
from fused_dump import fused_dump
from syrupy.assertion import SnapshotAssertion
from table_maker import TableMaker

ODD = {0: "missing", 5: "constant"}


@pytest.fixture(name="fused")
def _fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Eight layers, of which two are not fused."""
    monkeypatch.chdir(tmp_path)
    fused_dump(tmp_path / "fused", odd=ODD)
    return "fused"


@pytest.mark.parametrize("options", ["", "--brief", "--text"])
def test_a_fusion_with_exceptions(cutaway: Any, fused: str, options: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("diff", fused, "RMSNormQuant", *options.split())
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot


def test_the_other_way_round(cutaway: Any, fused: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("diff", fused, "RMSNormQuant", "before_post_grad", "--brief")
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot


@pytest.mark.parametrize(
    "arguments",
    [
        "lowering",
        "piece_02/range_8_8/lowering",
        "lowering --brief",
        "lowering post_grad",
        "NoOpElimination",
        "piece_00/piece",
    ],
)
def test_a_split_model(cutaway: Any, dump: str, arguments: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("diff", dump, *arguments.split())
    assert ran.err == ""
    assert ran.out == snapshot
    assert ran.code == (0 if "no difference" in ran.out or "changed nothing" in ran.out else 1)


def test_json(cutaway: Any, fused: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("diff", fused, "RMSNormQuant", "--json")
    shape = json.loads(ran.out)
    assert ran.code == 1
    assert not shape["equal"]
    (compared,) = shape["comparisons"]
    (rewrite,) = compared["rewrites"]
    assert (rewrite["text"], rewrite["count"]) == ("rms_norm + quant_fp8 → rms_norm_quant", 6)
    assert [(each["layers"], each["reason"]) for each in rewrite["absent"]] == [
        (["layers.0.input_layernorm"], "no quant_fp8 there"),
        (["layers.5.input_layernorm"], "rms_norm there has the constants 1e-05, not 1e-06"),
    ]
    assert json.dumps(compared["rewrites"], indent=1, ensure_ascii=False) == snapshot


def test_json_of_nothing(cutaway: Any, dump: str) -> None:
    shape = json.loads(cutaway("diff", dump, "NoOpElimination", "--json").out)
    (compared,) = shape["comparisons"]
    assert shape["equal"]
    assert compared["rewrites"] == []
    assert compared["idle"] == [
        "backbone/piece_02/range_1_4096/post_grad.0.NoOpEliminationPass",
        "backbone/piece_02/range_8_8/post_grad.0.NoOpEliminationPass",
    ]


def test_two_ranks(cutaway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion) -> None:
    monkeypatch.chdir(tmp_path)
    for rank in (0, 1):
        maker = DumpMaker(tmp_path / "dump" / "run_001" / f"rank_{rank}_dp_0", rank)
        maker.compilation("backbone")
        maker.snapshot("backbone/captured", "captured", piece(0, lowered=rank == 1), "backbone/00.captured")
        maker.end()
    ranks = ["--rank", "rank_0_dp_0", "--rank", "rank_1_dp_0"]
    ran = cutaway("diff", "dump", "captured", *ranks)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot
    assert cutaway("diff", "dump", "captured", "--rank", "rank_0_dp_0", "--rank", "rank_0_dp_0").code == 0


def test_a_compile_and_its_recompile_are_both_named(cutaway: Any, tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0", 0)
    for name, lowered in (("forward", False), ("forward.2", True)):
        maker.compilation(name)
        maker.snapshot(f"{name}/captured", "captured", piece(0, lowered=lowered), f"{name}/00.captured")
        maker.end(name)
    ran = cutaway("diff", str(tmp_path), "forward/captured", "forward.2/captured", "--brief")
    assert ran.out.splitlines()[0] == "forward → forward.2 · captured"


def test_another_provider_is_a_difference(cutaway: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same graph, of which a node is to be implemented by somebody else."""
    monkeypatch.chdir(tmp_path)
    for rank, provider in enumerate(("native", "cpp")):
        maker = DumpMaker(tmp_path / "dump" / "run_001" / f"rank_{rank}_dp_0", rank)
        maker.compilation("backbone")
        maker.snapshot("backbone/captured", "captured", piece(0), "backbone/00", providers={"rms_norm": provider})
        maker.end()
    ran = cutaway("diff", "dump", "captured", "--rank", "rank_0_dp_0", "--rank", "rank_1_dp_0", "--brief")
    assert ran.code == 1
    assert "rms_norm: provider changed" in ran.out
    assert "provider: native → cpp" in ran.out


def test_two_ranges_and_two_runs_that_are_equal(cutaway: Any, dump: str) -> None:
    ran = cutaway("diff", dump, "lowering", "--range", "8_8", "--range", "1_4096")
    assert (ran.code, ran.err) == (0, "")
    assert "range 8_8 → 1_4096" in ran.out
    assert "no difference" in ran.out
    ran = cutaway("diff", dump, "backbone/captured", "--run", "run_001", "--run", "run_001")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ([("sin", 0), ("cos", 0)], "only the order changed"),
        ([("cos", 0), ("sin", 1)], "rewritten, the same ops"),
    ],
    ids=["order", "arguments"],
)
def test_ls_says_the_same_of_an_order_that_has_no_effect(
    cutaway: Any, tmp_path: Path, then: list[tuple[str, int]], said: str
) -> None:
    """Two calls that do not read each other; and for comparison, arguments that are others."""
    maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
    maker.compilation("f")
    for stage, calls in (("before", [("cos", 0), ("sin", 0)]), ("reorder", then)):
        table = TableMaker({"": "M"})
        inputs = [table.input("x", [4]), table.input("y", [4])]
        made = {name: table.call(f"aten.{name}.default", [inputs[at]], shape=[4]) for name, at in calls}
        table.output(made["cos"], made["sin"])
        maker.snapshot(f"f/{stage}", "custom_pass", table.table(), f"f/{stage}", changed=stage == "reorder")
    maker.end()
    listed = cutaway("ls", str(tmp_path / "dump"), "--all").out
    assert f"* {said}" in listed
    ran = cutaway("diff", str(tmp_path / "dump"), "f/reorder")
    assert (said in ran.out, ran.code) == ((True, 0) if said.startswith("only") else (False, 1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("backbone/captured",),
            "is the first graph of its compilation. There is nothing before it. Give two selectors",
        ),
        (("execution_code",), "is code, no graph"),
        (("nothing",), "nothing in this dump is called 'nothing'"),
        (("lowerign",), "nothing in this dump is called 'lowerign'"),
        (("captured",), "'backbone/captured' is the first graph of its compilation"),
        (("before_post_grad", "piece_00/piece"), "have no piece and range in common"),
        (("post_grad.1.Seq", "backbone/captured"), "have no piece and range in common"),
        (("lowering", "--range", "3_3"), "was not recorded in range 3_3. There are 1_4096, 8_8"),
        (("lowering", "--range", "1_4096", "--range", "8_8", "--range", "8_8"), "--range was given more than twice"),
        (("lowering", "post_grad", "--range", "8_8", "--range", "1_4096"), "--range and a second SELECTOR exclude"),
        (
            ("lowering", "--rank", "rank_0_dp_0", "--rank", "rank_1_dp_0", "--run", "a", "--run", "b"),
            "exclude each other",
        ),
        (("lowering", "--rank", "rank_9"), "no process 'rank_9' in this dump"),
        (("lowering", "--json", "--text"), "--brief, --text and --json exclude each other"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_bad_use(cutaway: Any, dump: str, arguments: tuple[str, ...], said: str) -> None:
    ran = cutaway("diff", dump, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_graph_that_is_missing(cutaway: Any, fused: str) -> None:
    for table in (Path(fused) / "run_001/rank_0_dp_0/nodes").iterdir():
        table.unlink()
    ran = cutaway("diff", fused, "RMSNormQuant")
    assert (ran.code, ran.out) == (2, "")
    assert "is missing" in ran.err


@pytest.mark.parametrize("columns", [60, 120])
def test_a_terminal_is_coloured_and_not_overflown(fused: str, columns: int) -> None:
    """Nodes are cut to the width of the terminal: side by side, or one above the other on a narrow one."""
    program = f"""
        import fcntl, struct, sys, termios
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, {columns}, 0, 0))
        from cutaway.cli import main
        sys.exit(main(["diff", {fused!r}, "RMSNormQuant"]))
    """
    controller, terminal = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=terminal,
        stderr=terminal,
        env=environment | {"TERM": "xterm"},
    )
    os.close(terminal)
    out = _read_all(controller)
    assert process.wait() == 1
    assert "\x1b[31m" in out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out).replace("\r", "")
    nodes = [line for line in plain.splitlines() if line.startswith("    ")]
    assert max(map(len, nodes)) <= columns
    assert any("\N{BOX DRAWINGS LIGHT VERTICAL}" in line for line in nodes) == (columns == 120)


def _read_all(controller: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(controller)
    return b"".join(parts).decode()
