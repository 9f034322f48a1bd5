"""docs/from_scratch.py, as a reader runs it: cold, then again with what the first run kept."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "docs" / "from_scratch.py"


def run(kept: Path, caches: Path) -> str:
    """What the script prints, with its artifacts and Inductor's own caches in folders of ours."""
    found = subprocess.run(
        [sys.executable, str(SCRIPT), str(kept)],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(caches)},
        cwd=kept.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return re.sub(r"\bs\d+\b", "size", found.stdout)  # torch's name of the batch size


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("from_scratch")
    return run(folder / "kept", folder / "inductor"), run(folder / "kept", folder / "inductor")


def test_a_cold_run_tells_the_story(runs: tuple[str, str]) -> None:
    lines = [line for line in runs[0].splitlines() if line[:1].strip()]
    assert [re.sub(r"\d+\.\d\d s$|\d+(?= nodes)", "N", line) for line in lines] == [
        "1. model: a decoder of 4 layers",
        "2. capture: 1 graph of N nodes; input 1 is the batch size",
        "3. split: 9 pieces, 5 of them to compile",
        "4. same: 3 distinct pieces, 2 repeated",
        "5. build: piece_08 compiled for batch sizes 1-1 and 2-64",
        "6. cache: first start: 6 compiled, 0 loaded, 0 refused, in N",
        "6. cache: second start: 0 compiled, 6 loaded, 0 refused, in N",
        "6. cache: third start: 1 compiled, 5 loaded, 1 refused, in N",
        "7. link: def execution_fn(..., size, l_ids_, ...):",
        "8. run: equal to eager at 5 batch sizes: 1, 2, 7, 33, 64",
        "In sum: 9 pieces, 6 compiles instead of 10 when cold, none when warm",
    ]


def test_another_process_loads_what_the_first_kept(runs: tuple[str, str]) -> None:
    assert "first start: 0 compiled, 6 loaded, 0 refused" in runs[1]
    assert "8. run: equal to eager" in runs[1]


def test_the_generated_code_deletes_what_it_no_longer_needs(runs: tuple[str, str]) -> None:
    head = [line.strip() for line in runs[0].split("7. link: ")[1].splitlines()[1:6]]
    assert head == [
        "q, k, v, x, = piece_00(l_ids_, size, ...)",
        "attention_default, = piece_01(q, size, k, v)",
        "del q, k, v",
        "q_1, k_1, v_1, x_2, = piece_02(attention_default, size, ..., x, ...)",
        "del attention_default, x",
    ]


def test_it_needs_torch_and_the_standard_library_only() -> None:
    tree = ast.parse(SCRIPT.read_text())
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    taken = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported = {name.split(".")[0] for name in plain | taken}
    assert "torch" in imported
    assert imported - {"torch"} <= sys.stdlib_module_names


def test_the_places_that_it_names_exist() -> None:
    real = re.findall(r"^# Really: (.+)$", SCRIPT.read_text(), re.MULTILINE)
    places = [place for line in real for place in re.findall(r"\b\w+/(?:\w+\.py)?", line)]
    compiler = ROOT / "src" / "cutaway" / "compiler"
    assert len(real) == 9
    assert len(places) >= 8
    assert [place for place in places if not (compiler / place).exists()] == []
