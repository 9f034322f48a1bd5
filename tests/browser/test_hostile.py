"""Dumps that no compile would leave: nothing in them is executed, the page stays usable, the problem is named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hostile
import pytest
from playwright.sync_api import expect
from viewer import TABS, Viewer, open_page, serving

SOON = 30.0  # an order above what it takes: a page that hangs, not a machine that is busy
"""Seconds until a click must be answered: one is the goal, and machines may be busy."""


@contextmanager
def looking_at(browser: object, dump: Path) -> Iterator[Viewer]:
    with serving(dump) as url, open_page(browser, url) as viewer:
        yield viewer


def through_all_views(viewer: Viewer) -> None:
    """Every view opens, says something, and answers a click soon."""
    for tab in TABS:
        viewer.page.get_by_role("link", name=tab, exact=True).click()
        viewer.settle()
        viewer.page.wait_for_timeout(200)
        assert len(viewer.main.inner_text()) > 10, tab
        assert answers_in(viewer) < SOON, tab
        assert viewer.page.evaluate("() => window.hit") is None, tab


def answers_in(viewer: Viewer) -> float:
    """Seconds from a click to what it does."""
    started = time.monotonic()
    viewer.page.get_by_role("button", name="List of keys").click()
    viewer.page.get_by_role("dialog", name="Keys").wait_for()
    took = time.monotonic() - started
    viewer.page.get_by_role("button", name="Close").click()
    viewer.page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
    return took


@pytest.mark.parametrize("make", [hostile.markup, hostile.long_names, hostile.rings], ids=lambda make: make.__name__)
def test_is_shown_and_not_obeyed(browser: object, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with looking_at(browser, make(tmp_path / "dump")) as viewer:
        viewer.open()
        through_all_views(viewer)
        viewer.press("2")
        steps = viewer.main.get_by_role("listbox", name="Stages and passes in order").get_by_role("option")
        for number in range(steps.count()):
            steps.nth(number).click()
            viewer.settle()
            for _ in range(3):
                viewer.press("f")
                viewer.settle()
        viewer.press("/")
        viewer.page.keyboard.type("*")
        viewer.page.wait_for_timeout(300)
        assert viewer.page.evaluate("() => window.hit") is None
        assert viewer.page.locator("script").count() == 1
        assert viewer.page.locator("img").count() == 0


def test_a_name_of_a_megabyte_is_cut_and_its_length_told(browser: object, tmp_path: Path) -> None:
    with looking_at(browser, hostile.long_names(tmp_path / "dump")) as viewer:
        viewer.open(f"{hostile.PROCESS}/pipeline/one/captured")
        expect(viewer.main).to_contain_text("characters)")
        assert len(viewer.page.content()) < 2_000_000


def test_a_hundred_thousand_nodes_stay_usable(browser: object, tmp_path: Path) -> None:
    with looking_at(browser, hostile.huge(tmp_path / "dump")) as viewer:
        viewer.expected.append("400")  # two such graphs are not compared while somebody waits
        viewer.page.set_default_timeout(120_000)
        viewer.open(f"{hostile.PROCESS}/pipeline/one/before_split")
        expect(viewer.main).to_contain_text("too large", timeout=120_000)
        viewer.open(f"{hostile.PROCESS}/graph/one/captured")
        expect(viewer.main.get_by_role("treeitem").nth(2)).to_be_attached(timeout=120_000)
        assert answers_in(viewer) < SOON
        viewer.open(f"{hostile.PROCESS}/search")
        viewer.page.get_by_role("combobox", name="Search").fill("name:n9999")
        found = viewer.main.get_by_role("listbox", name="What was found").get_by_role("option")
        expect(found.first).to_be_visible(timeout=120_000)
        assert answers_in(viewer) < SOON


def test_files_that_are_missing_are_named(browser: object, tmp_path: Path) -> None:
    with looking_at(browser, hostile.missing_files(tmp_path / "dump")) as viewer:
        viewer.expected.append("422")
        viewer.open()
        for tab in TABS:
            viewer.page.get_by_role("link", name=tab, exact=True).click()
            viewer.settle()
            assert answers_in(viewer) < SOON
            if tab == "Graph":
                expect(viewer.main).to_contain_text("nodes/")
