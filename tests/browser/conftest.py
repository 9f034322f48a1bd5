"""A browser, a server, and dumps to look at: of the real vLLM, and of our compiler.

Chromium is looked for as $CHROMIUM, `chromium` and `chromium-browser`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from viewer import OURS, PAGE, RANKS, VLLM, Viewer, browsing, open_page, serving
from vllm_runs import Finished

MISSING = "no browser: install Chromium (apt-get install chromium), or name one with CHROMIUM=/path/to/it"
NAMES = ("chromium", "chromium-browser")
HERE = Path(__file__).parent
SLOW = 900
"""A test may have to wait for a run of vLLM."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = None if _chromium() else MISSING
    if not (PAGE / "page.js").is_file():
        missing = "the page is not built (make page)"
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(SLOW))
        if missing and "no_browser" not in item.keywords:
            item.add_marker(pytest.mark.skip(reason=missing))


def _chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[object]:
    """One browser for a file of tests: while Playwright runs, this thread has an event loop, which others must not."""
    found = _chromium()
    assert found
    with browsing(found) as browser:
        yield browser


@pytest.fixture(scope="session", name="stack")
def _stack() -> Iterator[ExitStack]:
    """What is ended when all tests are over."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session", name="decoder")
def _decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of a small decoder that our compiler compiled."""
    folder = tmp_path_factory.mktemp("decoder")
    program = [sys.executable, str(HERE / "compile_decoder.py"), str(folder)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dump"


@pytest.fixture(scope="session", name="dump")
def _dump(tmp_path_factory: pytest.TempPathFactory, recorded: Finished, two_ranks: Finished, decoder: Path) -> Path:
    """Three runs in one dump: of our compiler, of vLLM on two ranks, of vLLM, which is the newest."""
    root = tmp_path_factory.mktemp("all") / "dump"
    for run, found in ((OURS, decoder), (RANKS, two_ranks.dump), (VLLM, recorded.dump)):
        shutil.copytree(found / "run_001", root / run)
    return root


@pytest.fixture(scope="session", name="url")
def _url(stack: ExitStack, dump: Path) -> str:
    return stack.enter_context(serving(dump))


@pytest.fixture(name="viewer")
def _viewer(browser: object, url: str) -> Iterator[Viewer]:
    """The page on that dump. Whatever a test does: no errors in the console, no request to anywhere else."""
    with open_page(browser, url) as viewer:
        yield viewer
