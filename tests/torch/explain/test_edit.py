"""`cutaway edit` on programs: what is edited runs, in that piece alone, and the caches stay as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutaway.dump import load
from cutaway.explain.edit import editable, run_edited
from cutaway.explain.switches import Edit

PLAIN = """
import torch

@torch.compile
def f(x):
    return torch.relu(x) * 2.0 + 1.0

print("sum", float(f(torch.ones(8)).sum()))
"""
OURS = """
import torch, cutaway
from cutaway.compiler import CompilationConfig

class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * 2.0 + 1.0

with torch.no_grad():
    print("sum", float(cutaway.compile(Model(), CompilationConfig())(torch.ones(8, 4)).sum()))
"""


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs, their dumps, and caches that they filled."""
    folder = tmp_path_factory.mktemp("edit")
    for name, text in (("plain", PLAIN), ("ours", OURS)):
        (folder / f"{name}.py").write_text(text)
        environment = variables(folder) | {"CUTAWAY_DUMP": str(folder / f"dump_{name}")}
        subprocess.run([sys.executable, f"{name}.py"], cwd=folder, env=environment, check=True, capture_output=True)
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


@pytest.mark.parametrize(
    ("name", "wanted", "graph"),
    [("plain", "output_code", False), ("ours", "output_code", False), ("ours", "captured", True)],
    ids=["plain", "ours", "ours-graph"],
)
def test_what_is_edited_runs_and_the_caches_stay(
    name: str, wanted: str, graph: bool, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = files(place)
    dump = load(place / f"dump_{name}")
    one = editable(dump, "piece" if graph else wanted, graph)
    changed = one.text.replace("+ 1.0", "+ 5.0") if graph else one.text.replace("static_cast<float>(1.0)", "5.0f")
    assert changed != one.text
    (place / "edited.py").write_text(changed)
    edits = [Edit(one.place, str(place / "edited.py"), one.kind)]
    outcome = run_edited(edits, [sys.executable, str(place / f"{name}.py")], variables(place))
    assert (outcome.code, outcome.refused) == (0, ())
    assert len(outcome.swapped) == 1
    assert f"sum {7.0 * (8 if name == 'plain' else 32)}" in capfd.readouterr().out
    assert files(place) == before


def test_a_file_that_does_not_import_is_refused(place: Path) -> None:
    one = editable(load(place / "dump_plain"), "output_code", False)
    (place / "broken.py").write_text(f"import no_such_module\n{one.text}")
    edits = [Edit(one.place, str(place / "broken.py"))]
    outcome = run_edited(edits, [sys.executable, str(place / "plain.py")], variables(place))
    assert outcome.code != 0
    (refused,) = outcome.refused
    assert "does not import" in refused
    assert "no_such_module" in refused
