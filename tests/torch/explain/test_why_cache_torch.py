"""`cutaway why cache` on torch's own caches: starts that were recorded, each with one thing that is another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config

import cutaway
from cutaway.explain.cache import Miss, explain_cache


def once(x: torch.Tensor) -> torch.Tensor:
    return x @ x  # which Inductor calls as it is: nothing is built


def twice(x: torch.Tensor) -> torch.Tensor:
    return x @ x @ x


def start(folder: Path, model: Callable[[torch.Tensor], torch.Tensor], size: int = 8, **options: Any) -> list[Miss]:
    """Record a compile as a process would that has nothing in memory, and say what missed."""
    torch.compiler.reset()
    with cutaway.record(folder / "dump"), torch._inductor.config.patch(options):
        torch.compile(model, dynamic=False)(torch.ones(size, size))
    return explain_cache(folder / "dump")


def test_of_starts_that_differ_in_one_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    (first,) = start(tmp_path, once)
    assert "record both starts" in first.reason
    assert start(tmp_path, once) == []
    (option,) = start(tmp_path, once, epilogue_fusion=False)
    assert option.words == ("torch._inductor.config.epilogue_fusion: True → False",)
    (graph,) = start(tmp_path, twice)
    assert graph.words == ("another graph: aten.mm.default 1 → 2",)
    (size,) = start(tmp_path, twice, size=16)
    assert "input 0: shape torch.Size([8, 8]) → torch.Size([16, 16])" in size.words[-1]
    (passed,) = start(tmp_path, twice, post_grad_custom_post_pass=lambda graph: None)
    assert passed.reason == "torch passed its caches by: Unsupported post grad custom pass"
