"""The page in a real browser, watched: what the console says, and what is asked of whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

PAGE = Path(__file__).parents[2] / "src" / "cutaway" / "web" / "page"
OURS, RANKS, VLLM = "run_001", "run_002", "run_003"
"""Runs of the dump that most tests look at: of our compiler, of vLLM on two ranks, of vLLM alone."""
PATIENCE = 30_000
"""Milliseconds until something that should appear counts as missing: a machine may be busy."""
SIZE = {"width": 1280, "height": 800}
VIEWS = ("overview", "pipeline", "graph", "lineage", "code", "compare", "search")
TABS = ("Overview", "Pipeline", "Graph", "Lineage", "Stitching", "Compare", "Search")

expect.set_options(timeout=PATIENCE)


@dataclass
class Viewer:
    """A tab of the browser.

    Attributes:
        page: Playwright's.
        url: what `cutaway view` printed, or a file's.
        console: errors that the page told, CSP's and those of scripts among them.
        strange: requests to anything but that server or that file.
        expected: parts of errors that the test brings about.
    """

    page: Page
    url: str
    console: list[str] = field(default_factory=list[str])
    strange: list[str] = field(default_factory=list[str])
    expected: list[str] = field(default_factory=list[str])

    def open(self, fragment: str = "") -> None:
        """A new load of the page, as from a link that somebody sent."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}#/{fragment}" if fragment else self.url)
        self.page.locator("main").wait_for()
        self.settle()

    def settle(self) -> None:
        """Waits until nothing is being read any more."""
        self.page.wait_for_function(
            "() => document.querySelector('main')?.children.length > 0 && !document.querySelector('.loading')"
        )

    @property
    def main(self) -> Locator:
        return self.page.locator("main")

    @property
    def fragment(self) -> str:
        return urlsplit(self.page.url).fragment

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def unexpected(self) -> list[str]:
        return [text for text in self.console if not any(part in text for part in self.expected)]


@contextmanager
def browsing(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, url: str, **options: Any) -> Iterator[Viewer]:
    """A tab of somebody who was never here. At its end: nothing in the console, and nobody else was asked."""
    context = browser.new_context(viewport=SIZE, **options)
    context.set_default_timeout(PATIENCE)
    context.grant_permissions([])
    page = context.new_page()
    viewer = Viewer(page, url)
    own = urlsplit(url)

    def asked(request: Request) -> None:
        to = urlsplit(request.url)
        same = (to.scheme, to.netloc) == (own.scheme, own.netloc) and (own.scheme != "file" or to.path == own.path)
        if not same and to.scheme not in ("blob", "data", "about"):
            viewer.strange.append(request.url)

    page.on("console", lambda said: said.type in ("error", "warning") and viewer.console.append(said.text))
    page.on("pageerror", lambda error: viewer.console.append(f"uncaught: {error}"))
    context.on("request", asked)
    try:
        yield viewer
        assert viewer.unexpected() == []
        assert viewer.strange == []
    finally:
        context.close()


@contextmanager
def serving(dump: Path, *options: str) -> Iterator[str]:
    """`cutaway view`, and the address that it prints."""
    command = [sys.executable, "-m", "cutaway.cli", "view", str(dump), *options, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(30)


def cutaway(*words: str | Path) -> Any:
    """What a command says in JSON: the page must say the same."""
    command = [sys.executable, "-m", "cutaway.cli", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)
