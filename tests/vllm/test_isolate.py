"""`cutaway isolate vllm` on the real vLLM, with a pass of a plugin that is wrong in one layer.

Looking inside of the part is tested where it is cheap (tests/torch/explain); here the rungs are, which set vLLM's own
configuration. The two runs take two minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "explain"))

from vllm_plugin import plugin_variables  # noqa: E402 - stands in the gallery's folder


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CUTAWAY", "VLLM_", "TORCH"))}
    return kept | {
        **plugin_variables(folder / "plugin", "wrong_pass"),
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "users" / "inductor"),
    }


def _isolate(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "cutaway.cli", "isolate", "--json", "--output", str(folder / "o"), *arguments],
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.mark.vllm
@pytest.mark.slow
def test_a_wrong_pass_of_a_plugin_is_found_at_its_rung(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "demo"))
    from tiny_model import make_model  # noqa: PLC0415 - imports torch and transformers

    model = make_model(tmp_path / "model", "qwen3", 2)
    arguments = ["--model", str(model), "--dtype", "float32", "--max-model-len", "64"]
    code, found, errors = _isolate(tmp_path, "--part-only", "vllm", *arguments, "--kv-cache-memory-bytes", str(1 << 26))
    assert (code, found.get("part")) == (1, "passes"), errors
    assert "in eager" in found["fault"]
    rungs = {rung["part"]: rung for rung in found["rungs"]}
    assert rungs[None]["faulty"] == rungs["caches"]["faulty"] == 1
    assert rungs["passes"]["right"] >= 1
    # With CUDA graphs, caches and passes off it is Inductor that runs; it rounds otherwise than eager, and no more.
    assert rungs["passes"]["words"].startswith("the same tokens")
    assert not (tmp_path / "users").exists()  # nothing is left in the user's caches
    assert not any((tmp_path / "o" / "trials").glob("*/caches"))


@pytest.mark.vllm
def test_a_model_that_does_not_load_is_said(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    code, _, errors = _isolate(tmp_path, "vllm", "--model", str(tmp_path / "model"))
    assert code == 2
    assert "error: nothing can be tried. The model does not load" in errors
