"""Recordings of the real vLLM, made once for all tests here; see vllm_runs.py for what each is.

TEST_RUNS=FOLDER pytest tests/vllm     keep the runs there, and use those that lie there already
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from vllm_runs import RUNS, Finished, Runner, older_vllm  # noqa: E402 - stands beside this file

NEEDED = ("vllm", "cutaway_demo_platform")
SLOW = 900
"""A test may have to wait for a run that waits for others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(SLOW))
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)} (make env)"))


@pytest.fixture(scope="session", name="runner")
def _runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Makes the runs, and begins at once with all that the chosen tests ask for."""
    kept = os.environ.get("TEST_RUNS")
    runner = Runner(Path(kept) if kept else tmp_path_factory.mktemp("runs"))
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in RUNS:
        if name in wanted and _version_missing(name) is None:
            runner.begin(name)
    yield runner
    runner.close()


def _version_missing(name: str) -> str | None:
    version = RUNS[name].version
    return version if version is not None and not older_vllm(version).is_dir() else None


def _fixture(name: str) -> Callable[..., Finished]:
    @pytest.fixture(scope="session", name=name)
    def finished(runner: Runner) -> Finished:
        if version := _version_missing(name):
            pytest.skip(f"vLLM {version} is not there: make env-vllm VLLM={version}")
        return runner.get(name)

    return finished


for _name in RUNS:
    globals()[f"_{_name}"] = _fixture(_name)
