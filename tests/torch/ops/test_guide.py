"""The examples of docs/ops.md run, one after the other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "ops.md"


@torch.no_grad()
def test_the_examples_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTAWAY_CACHE_ROOT", str(tmp_path / "cache"))
    file = tmp_path / "ops_guide.py"  # an implementation is known by its source
    file.write_text("\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)))
    module = ModuleType("ops_guide")
    monkeypatch.setitem(sys.modules, "ops_guide", module)
    exec(compile(file.read_text(), str(file), "exec"), vars(module))
