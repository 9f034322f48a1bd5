"""Dumps that the page is asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump
from lineage_maker import make_lineage_dump

from cutaway.web.data import Library

Get = Callable[[str], Any]


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of two processes that are only read."""
    return make_dump(tmp_path_factory.mktemp("web") / "dump", ranks=2, runs=2)


@pytest.fixture(name="get", scope="module")
def _get(root: Path) -> Get:
    """A resource of the newest run's first process."""
    library = Library(root)
    return lambda path: library.get(f"run_002/rank_0_dp_0/{path}")


@pytest.fixture(name="traced", scope="module")
def _traced(tmp_path_factory: pytest.TempPathFactory) -> Get:
    """A resource of a dump whose origins are all known."""
    folder = tmp_path_factory.mktemp("web") / "run_001" / "rank_0_dp_0"
    make_lineage_dump(folder)
    library = Library(folder.parent.parent)
    return lambda path: library.get(f"run_001/rank_0_dp_0/{path}")
