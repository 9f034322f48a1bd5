"""Recordings of the real vLLM as fixtures, for tests of any folder; vllm_runs.py says what each is.

TEST_RUNS=FOLDER pytest tests/vllm     keep the runs there, and use those that lie there already
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from vllm_runs import RUNS, Finished, Runner, older_vllm

_RUNNER = pytest.StashKey[Runner]()
NEEDED = ("vllm", "cutaway_demo_platform")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins at once with all runs that the chosen tests ask for: they go on while other tests run."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly or wanted.isdisjoint(RUNS) or missing():
        return
    kept = os.environ.get("TEST_RUNS")
    runner = Runner(Path(kept) if kept else Path(tempfile.mkdtemp(prefix="cutaway-runs-")))
    session.config.stash[_RUNNER] = runner
    for name in RUNS:
        if name in wanted and _version_missing(name) is None:
            runner.begin(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    runner = session.config.stash.get(_RUNNER, None)
    if runner is not None:
        runner.close()
        if not os.environ.get("TEST_RUNS"):
            shutil.rmtree(runner.folder, ignore_errors=True)


@pytest.fixture(scope="session", name="runner")
def _runner(request: pytest.FixtureRequest) -> Runner:
    return request.config.stash[_RUNNER]


def missing() -> list[str]:
    """What of it is not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def why_skipped(absent: list[str]) -> str:
    return f"not installed: {', '.join(absent)} (make env)"


def _version_missing(name: str) -> str | None:
    version = RUNS[name].version
    return version if version is not None and not older_vllm(version).is_dir() else None


def _fixture(name: str) -> Callable[..., Finished]:
    @pytest.fixture(scope="session", name=name)
    def finished(request: pytest.FixtureRequest) -> Finished:
        if absent := missing():
            pytest.skip(why_skipped(absent))
        if version := _version_missing(name):
            pytest.skip(f"vLLM {version} is not there: make env-vllm VLLM={version}")
        return request.getfixturevalue("runner").get(name)

    return finished


for _name in RUNS:
    globals()[f"_{_name}"] = _fixture(_name)
