"""`cutaway edit` on a program: what is edited runs, in that piece alone, and the caches stay as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutaway.dump import load
from cutaway.explain.edit import Editable, Outcome, editable, run_edited
from cutaway.explain.switches import Edit

PROGRAM = """
import torch, cutaway
from cutaway.compiler import CompilationConfig

class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * 2.0 + 1.0

@torch.compile
def plain(x):
    return torch.relu(x) * 2.0 + 1.0

with torch.no_grad():
    print("ours", float(cutaway.compile(Model(), CompilationConfig())(torch.ones(8, 4)).sum()))
    try:
        print("plain", float(plain(torch.ones(8)).sum()))
    except Exception as error:
        print("plain", type(error).__name__)
"""
"""One piece of our compiler, then one graph of torch's: each is 3 for 1."""


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program, its dump, and caches that it filled."""
    folder = tmp_path_factory.mktemp("edit")
    (folder / "program.py").write_text(PROGRAM)
    environment = variables(folder) | {"CUTAWAY_DUMP": str(folder / "dump")}
    subprocess.run([sys.executable, "program.py"], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def variables(folder: Path) -> dict[str, str]:
    own = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"), "CUTAWAY_CACHE_ROOT": str(folder / "cache")}
    return {**os.environ, **own}


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for name in ("inductor", "cache")
        for path in (folder / name).rglob("*")
        if path.is_file()
    }


def run(place: Path, *edited: tuple[Editable, str]) -> Outcome:
    """Run the program with these texts; the caches stay as they were."""
    before = files(place)
    edits: list[Edit] = []
    for number, (one, text) in enumerate(edited):
        assert text != one.text
        (place / f"edited_{number}.py").write_text(text)
        edits.append(Edit(one.place, str(place / f"edited_{number}.py"), one.kind))
    outcome = run_edited(edits, [sys.executable, str(place / "program.py")], variables(place))
    assert files(place) == before
    return outcome


def test_code_of_ours_and_of_torchs(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dump = load(place / "dump")
    ours, plain = (editable(dump, name, False) for name in ("piece_00", "plain"))
    assert [str(one.place) for one in (ours, plain)] == ["piece_00/range_1_8192", "graph_00"]
    outcome = run(place, *((one, one.text.replace("static_cast<float>(1.0)", "5.0f")) for one in (ours, plain)))
    assert (outcome.code, outcome.refused) == (0, ())
    assert outcome.swapped == ("piece_00 for 1_8192", "graph_00")
    assert capfd.readouterr().out == f"ours {7.0 * 32}\nplain {7.0 * 8}\n"


def test_a_graph_runs_and_a_file_that_does_not_import_is_refused(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dump = load(place / "dump")
    graph, plain = editable(dump, "piece_00", True), editable(dump, "plain", False)
    outcome = run(place, (graph, graph.text.replace("+ 1.0", "+ 6.0")), (plain, f"import no_such_module\n{plain.text}"))
    assert outcome.swapped == ("piece_00 for 1_8192",)
    (refused,) = outcome.refused
    assert "does not import" in refused
    assert "no_such_module" in refused
    assert capfd.readouterr().out == f"ours {8.0 * 32}\nplain ExplainError\n"
