"""Kernels are compiled once for all tests here, into a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import cutaway.ops.library  # noqa: F401  (registers what is tested)


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def _compiled_there(kernel_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTAWAY_CACHE_ROOT", str(kernel_folder))
