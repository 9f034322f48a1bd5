"""Recordings of the real vLLM as fixtures, for tests of any folder; vllm_runs.py says what each is.

Those that the chosen tests ask for are begun before the first test of all, and go on while tests run. Several processes
that share the tests (pytest-xdist) share the runs.

TEST_RUNS=FOLDER pytest tests/vllm     keep the runs there, and use those that lie there already
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import BEGUN, RUNS, Finished, failure_file, older_vllm, wait_for

NEEDED = ("vllm", "cutaway_demo_platform")
MAKER = Path(__file__).with_name("vllm_maker.py")
_FOLDER = pytest.StashKey[Path]()
_WANTED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """The runs' folder, and nobody who makes them yet; a process that gets its tests from another shares its folder."""
    if shared := _from_controller(config):
        config.stash[_FOLDER] = Path(shared["runs"])
        return
    kept = os.environ.get("TEST_RUNS")
    folder = config.stash[_FOLDER] = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="cutaway-runs-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEGUN).unlink(missing_ok=True)
    for name in RUNS:
        failure_file(folder, name).unlink(missing_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Asked by pytest-xdist before it starts a process."""
    node.workerinput |= {"runs": str(node.config.stash[_FOLDER]), "controller": os.getpid()}


def _from_controller(config: pytest.Config) -> dict[str, Any]:
    return getattr(config, "workerinput", {})


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins at once with all runs that the chosen tests ask for: they go on while other tests run."""
    if session.config.option.collectonly or missing():
        return
    asked = {name for item in session.items for name in _names(item)}
    wanted = [name for name in RUNS if name in asked and _version_missing(name) is None]
    session.config.stash[_WANTED] = wanted
    if wanted:
        _begin(session.config, wanted)


def _names(item: pytest.Item) -> Iterable[str]:
    """Of fixtures that a test asks for, be it by the name of a parameter."""
    yield from getattr(item, "fixturenames", ())
    call = getattr(item, "callspec", None)
    yield from (value for value in call.params.values() if isinstance(value, str)) if call else ()


def _begin(config: pytest.Config, names: list[str]) -> None:
    """Starts what makes runs, unless another process that has collected the same tests was first."""
    folder = config.stash[_FOLDER]
    try:
        (folder / BEGUN).touch(exist_ok=False)
    except FileExistsError:
        return
    tests = _from_controller(config).get("controller", os.getpid())
    with (folder / "maker.txt").open("w") as log:
        command = [sys.executable, str(MAKER), str(folder), str(tests), *names]
        maker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    (folder / BEGUN).write_text(str(maker.pid))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the runs that are still going on, when there is such a process, which takes the folder with it."""
    if _FOLDER not in config.stash or _from_controller(config):
        return
    folder = config.stash[_FOLDER]
    (folder / BEGUN).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()  # nothing was made


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
        assert name in request.config.stash[_WANTED], "a run is begun if an argument or a parameter of a test names it"
        return wait_for(request.config.stash[_FOLDER], name)

    return finished


for _name in RUNS:
    globals()[f"_{_name}"] = _fixture(_name)
