"""Graphs inside of graphs: below the node that takes them, in what a pass changed, and in the drawing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from viewer import Viewer, open_page, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from branch_dump import AFTER, BEFORE, changed

HOME = "run_001/rank_0_dp_0"


@pytest.fixture(scope="module", name="served")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(changed(tmp_path_factory.mktemp("inside"))) as url:
        yield url


@pytest.fixture(name="viewer")
def _viewer(browser: object, served: str) -> Iterator[Viewer]:
    with open_page(browser, served) as viewer:
        yield viewer


def test_a_branch_opens_and_closes_below_what_takes_it(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/pipeline/{BEFORE}")
    rows = viewer.main.get_by_role("listbox", name="Rows of the graph").get_by_role("option")
    texts = [row.inner_text() for row in rows.all()]
    (at,) = (i for i, text in enumerate(texts) if "higher_order.cond" in text)
    assert "graph true_0" in texts[at + 1]
    assert "×2 identical, shown once: true_0, true_1" in texts[at + 1]
    inside = rows.filter(has_text="aten.cos")
    expect(inside).to_have_count(1)
    rows.filter(has_text="graph true_0").click()
    expect(inside).to_have_count(0)
    expect(rows.filter(has_text="aten.sin")).to_have_count(1)
    rows.filter(has_text="graph true_0").click()
    expect(inside).to_have_count(1)


def test_what_changed_inside_is_a_rewrite_that_is_gone_to(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/pipeline/{AFTER}")
    rewrite = viewer.main.get_by_role("list", name="Rewrites").get_by_role("listitem").filter(has_text="cos → tan")
    expect(rewrite).to_contain_text("×2")
    expect(rewrite).to_contain_text("in true_0 …")
    rows = viewer.main.get_by_role("listbox", name="Rows of both graphs").get_by_role("option")
    expect(rows.filter(has_text="graph false_0")).to_have_count(1)
    expect(rows.filter(has_text="aten.sin")).to_have_count(0)  # the branch that stayed is closed
    rewrite.get_by_role("button").click()
    expect(viewer.main.locator("#row-now").first).to_contain_text(re.compile("cos|tan"))


def test_branches_are_groups_of_the_drawing(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/graph/{BEFORE}")
    drawn = viewer.main.get_by_role("tree").get_by_role("treeitem")
    expect(drawn.first).to_be_attached()
    viewer.main.get_by_role("button", name="Open all", exact=True).click()
    for name in ("true_0", "false_0", "true_1", "false_1"):
        expect(viewer.main.get_by_role("treeitem", name=re.compile(rf"^{name}, ")).first).to_be_attached()
    told = viewer.main.get_by_role("status").last
    expect(told).to_contain_text("nodes drawn")
    viewer.open(f"{HOME}/pipeline/{AFTER}?form=drawn")
    expect(viewer.main.get_by_role("status").last).to_contain_text("graphs inside are in Structured")
