"""`cutaway ls` at first: one screen, whatever there is; what is unusual first; what it shows can be typed again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, make_dump, make_process, piece
from hypothesis import given
from hypothesis import strategies as st
from table_maker import decoder
from terminal import on_a_terminal

from cutaway.dump import load
from cutaway.dump.overview import Cell, Column, overview, rows_of

SCREEN = 30
HERE = "backbone/piece_02/range_{}"


def compiled(maker: DumpMaker, compile_range: str, name: str = "piece_02", lowered: bool = True) -> None:
    """One more range of a piece, with a pass that changes something when `lowered`."""
    here = f"backbone/{name}/range_{compile_range}"
    maker.snapshot(f"{here}/before_post_grad", "before_post_grad", piece(0), f"{here}/00")
    facts: dict[str, Any] = {"changed": lowered, "ops_delta": {"rms_norm": -1} if lowered else {}}
    maker.snapshot(f"{here}/post_grad.2.Lowering", "custom_pass", piece(0, lowered), f"{here}/01", **facts)
    maker.code(f"{here}/output_code", "output_code", f"{here}/90.output_code.py", f"# {here}\n")


def functions(maker: DumpMaker, count: int, recompiles: int) -> None:
    for i in range(count):
        for again in range(recompiles + 1):
            name = f"f{i}" + (f".{again + 1}" if again else "")
            reason = [f"x.size(0) == {again}"] if again else []
            maker.compilation(name, function=f"f{i}", line=i, recompile=again, reason=reason, model=None)
            maker.snapshot(f"{name}/captured", "captured", decoder(1), f"{name}/00.captured")
            maker.end(name)


def test_the_number_of_layers_changes_no_line(cutaway: Any, tmp_path: Path) -> None:
    shown = [
        cutaway("ls", str(make_dump(tmp_path / f"of_{layers}", layers=layers))).out.splitlines() for layers in (4, 40)
    ]
    assert len(shown[0]) == len(shown[1]) <= SCREEN
    assert any("piece_02 ×39" in line for line in shown[1])


def test_the_number_of_ranges_changes_no_line(cutaway: Any, tmp_path: Path) -> None:
    maker = make_process(tmp_path / "p")
    before = cutaway("ls", str(tmp_path / "p")).out.splitlines()
    for size in range(16, 48):
        compiled(maker, f"{size}_{size}")
    after = cutaway("ls", str(tmp_path / "p")).out.splitlines()
    # One more column, for ranges in which something else happened, and one more row, for the pass that is theirs alone.
    assert len(after) == len(before) + 1 <= SCREEN
    assert any(re.search(r"^  post_grad\.2\.Lowering +5\b", line) for line in after)


def test_many_functions_and_recompiles_fit(cutaway: Any, tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "p")
    functions(maker, 40, recompiles=2)
    maker.end()
    out = cutaway("ls", str(tmp_path / "p")).out
    assert len(out.splitlines()) <= SCREEN
    assert "f0 ×3" in out
    assert "and 87 more, of 29 functions" in out
    assert "40 functions were compiled anew 80 times: `cutaway why shape" in out


def test_of_one_large_and_many_small_ones_the_large_one_is_shown(cutaway: Any, tmp_path: Path) -> None:
    maker = make_process(tmp_path / "p", layers=40, ended=False)
    functions(maker, 30, recompiles=0)
    out = cutaway("ls", str(tmp_path / "p")).out
    assert len(out.splitlines()) <= SCREEN + 5
    assert out.index("post_grad.2.VllmIRLoweringPass") < out.index("also compiled:")


def test_what_is_unusual_stands_first_and_is_counted(cutaway: Any, tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "p")
    values = {"kind": "provider", "pass": "lowering", "taken": "native", "expected": "fast", "node": "x", "layer": ""}
    for i in range(20):
        maker.compilation(f"f{i}", function=f"f{i}", line=i, model=None)
        maker.snapshot(f"f{i}/captured", "captured", decoder(1), f"f{i}/00.captured")
        maker.event("metric", f"f{i}", kind="finding", values=values, piece=None, range=None)
        maker.event("error", f"f{i}", where=f"hook {i}", error="ValueError: no", traceback="")
        maker.event("end", f"f{i}", values={"failed": "RuntimeError: it broke"} if i == 3 else {})
    maker.end()
    lines = cutaway("ls", str(tmp_path / "p")).out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("compiled:"))
    assert "and 17 more such lines: `cutaway ls" in lines[first - 2]
    assert sum("finding" in line or "hook" in line for line in lines[first:]) == 0
    assert len(lines) <= SCREEN


def test_a_failed_compile_is_said(cutaway: Any, tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "p")
    maker.compilation("f", function="f", model=None)
    maker.snapshot("f/captured", "captured", decoder(1), "f/00.captured")
    maker.event("end", "f", values={"failed": "RuntimeError: it broke"})
    maker.end()
    lines = cutaway("ls", str(tmp_path / "p")).out.splitlines()
    assert lines[2] == "f: FAILED: RuntimeError: it broke"


def test_nothing_compiled_is_said(cutaway: Any, tmp_path: Path) -> None:
    DumpMaker(tmp_path / "p").end()
    ran = cutaway("ls", str(tmp_path / "p"))
    assert (ran.code, ran.err) == (0, "")
    assert "nothing was compiled, as far as was recorded" in ran.out


def test_equal_pieces_that_were_compiled_again_are_counted(cutaway: Any, tmp_path: Path) -> None:
    maker = make_process(tmp_path / "p")
    compiled(maker, "8_8", "piece_04")
    compiled(maker, "8_8", "piece_06", lowered=False)
    out = cutaway("ls", str(tmp_path / "p")).out
    assert "same: piece_04, piece_06; 2 compiled again" in out


def test_the_commands_it_names_work(cutaway: Any, dump: str) -> None:
    out = cutaway("ls", dump).out
    named = re.findall(r"(?:: | )cutaway ((?:ls|show|diff) \S+ \S+)", out)
    assert [command.split()[0] for command in named] == ["ls", "ls", "diff"]
    for command in named:
        ran = cutaway(*command.split())
        assert ran.code in (0, 1)
        assert ran.err == ""
        assert ran.out


def test_a_column_and_a_row_are_a_selector(dump: str) -> None:
    recorded = load(dump)
    for compilation in recorded:
        found = overview(compilation)
        for column in found.columns:
            for leaf, cell in column.cells.items():
                selector = f"{compilation.name}/{column.path(leaf)}"
                passes = {step.selector for step in compilation.passes}
                if leaf not in ("piece", "captured"):
                    assert selector in recorded.snapshots or (selector in passes and not cell.changed)


@pytest.mark.parametrize("width", [40, 60, 90])
def test_a_narrow_terminal_gets_a_narrow_table(dump: str, width: int) -> None:
    out = on_a_terminal("ls", dump, columns=width)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\r") for line in out.splitlines()]
    table = [line for line in lines if line.startswith("  ")]
    assert len(table) > 8
    assert max(map(len, table)) <= width
    assert any(line.startswith("  post_grad.2.Vllm") for line in table)


@given(st.data())
def test_rows_keep_the_order_of_each_column(data: st.DataObject) -> None:
    names = [f"pass_{i}" for i in range(8)]
    columns = [
        Column(
            (f"piece_{i}",),
            ("",),
            {name: Cell(1, data.draw(st.booleans())) for name in names if data.draw(st.booleans())},
            None,
        )
        for i in range(data.draw(st.integers(1, 4)))
    ]
    rows = rows_of(columns)
    for column in columns:
        here = [leaf for leaf in rows if leaf in column.cells]
        assert here == sorted(here, key=[*column.cells].index)
        assert {leaf for leaf, cell in column.cells.items() if cell.changed} <= set(rows)
