"""Tests here wait for runs of the real vLLM (run_fixtures.py), and are skipped where it is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_fixtures import missing, why_skipped

HERE = Path(__file__).parent
SLOW = 900
"""A test may have to wait for a run that waits for others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    absent = missing()
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(SLOW))
        if absent:
            item.add_marker(pytest.mark.skip(reason=why_skipped(absent)))
