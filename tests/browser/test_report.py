"""The report of a dump, opened from the file system: all views, no request, and nothing of what was hidden."""

from __future__ import annotations

import getpass
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect
from viewer import TABS, VIEWS, VLLM, Viewer, open_page

HOME = f"{VLLM}/rank_0_dp_0"
STEP = "backbone/piece_02/range_1_16/post_grad.2.VllmIRLoweringPass"


def make(dump: Path, to: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "cutaway.cli", "report", str(dump), "-o", str(to), "--run", VLLM, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module", name="report")
def _report(dump: Path, folder: Path) -> Path:
    return make(dump, folder / "report.html")


@pytest.fixture(scope="module", name="redacted")
def _redacted(dump: Path, folder: Path) -> Path:
    return make(dump, folder / "redacted.html", "--redact")


@contextmanager
def offline(browser: object, file: Path) -> Iterator[Viewer]:
    """The file in a browser that can reach nothing else: what it asks for is refused, and remembered."""
    with open_page(browser, file.as_uri()) as viewer:
        asked: list[str] = []

        def refuse(route: Route) -> None:
            asked.append(route.request.url)
            route.abort()

        viewer.page.context.route(lambda url: not url.startswith(("file:", "blob:", "data:")), refuse)
        yield viewer
        assert asked == []


def test_every_view_opens_from_the_file_system(browser: object, report: Path) -> None:
    with offline(browser, report) as viewer:
        viewer.open(f"{HOME}/overview")
        expect(viewer.main.get_by_role("heading", level=1)).to_have_text("Qwen3ForCausalLM")
        for view, tab in zip(VIEWS, TABS, strict=True):
            viewer.page.get_by_role("link", name=tab, exact=True).click()
            viewer.settle()
            assert f"/{view}" in viewer.fragment
            assert len(viewer.main.inner_text()) > 100
            assert viewer.page.locator(".problem").count() == 0


def test_says_the_same_as_the_server(browser: object, report: Path, viewer: Viewer) -> None:
    places = [f"pipeline/{STEP}", "lineage/backbone/piece_02", "code/backbone", "search?q=op:*rms_norm*"]
    with offline(browser, report) as other:
        for place in places:
            viewer.open(f"{HOME}/{place}")
            other.open(f"{HOME}/{place}")
            viewer.page.wait_for_timeout(300)
            assert lines(other) == lines(viewer)


def lines(viewer: Viewer) -> list[str]:
    """The text in view, without how long a search took."""
    return [line for line in viewer.main.inner_text().splitlines() if not line.strip().endswith(" ms")]


def test_a_redacted_one_shows_no_name(browser: object, redacted: Path) -> None:
    names = {"Qwen", "generate.py", "/site-packages", str(Path.home()), socket.gethostname(), getpass.getuser()}
    names -= {"root", "localhost", "/root"}
    with offline(browser, redacted) as viewer:
        for view in VIEWS:
            viewer.open(f"{HOME}/{view}")
            viewer.page.wait_for_timeout(200)
            text = viewer.page.content()
            page, _, _ = text.partition('<script type="application/json"')
            shown = viewer.main.inner_html() + viewer.page.title() + page
            assert {name for name in names if name.lower() in shown.lower()} == set()


def test_asks_for_nothing_that_is_not_in_it(report: Path) -> None:
    head = report.read_text()[:4000]
    assert "default-src 'none'" in head
    assert "connect-src" not in head or "connect-src 'none'" in head
