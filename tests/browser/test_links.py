"""A link restores what one sees: opened by somebody else, the page looks the same."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import VLLM
from playwright.sync_api import expect
from viewer import Viewer, open_page

HOME = f"{VLLM}/rank_0_dp_0"
STEP = "backbone/piece_02/range_1_16/post_grad.2.VllmIRLoweringPass"


def as_seen(viewer: Viewer) -> dict[str, Any]:
    """The text in view, what is selected, and how far the lists are scrolled."""
    viewer.settle()
    viewer.page.wait_for_timeout(600)
    return viewer.page.evaluate(
        """() => ({
          text: document.querySelector('main').innerText,
          lit: [...document.querySelectorAll('[aria-selected=true], .lit')].map((one) => one.innerText),
          open: [...document.querySelectorAll('[aria-expanded=true]')].length,
          scroll: [...document.querySelectorAll('[role=listbox], [role=tree], [role=grid]')].map(
            (one) => Math.round(one.scrollTop / 40)),
        })"""
    )


def scan(viewer: Viewer) -> None:
    """Search, with a query that was typed."""
    viewer.open(f"{HOME}/search")
    viewer.page.get_by_role("combobox", name="Search").fill("op:*mul*")
    expect(viewer.main.get_by_role("option").first).to_be_visible()


def pick_in_the_diff(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/pipeline/{STEP}")
    viewer.main.get_by_role("button", name="Split").click()
    viewer.main.get_by_role("option").filter(has_text="rsqrt_default").last.click()


def fold_in_the_diff(viewer: Viewer) -> None:
    """A layer without a change is opened, all by keys."""
    viewer.open(f"{HOME}/pipeline/{STEP}")
    viewer.press("h")
    viewer.main.get_by_role("listbox").last.focus()
    viewer.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight")


def open_in_the_graph(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/graph/backbone/captured")
    viewer.main.get_by_role("combobox", name="Colour").select_option("dtype")
    viewer.main.get_by_role("button", name="Weights").click()
    viewer.main.get_by_role("treeitem").nth(4).wait_for(state="attached")
    viewer.press("g", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight")


def lineage_of_a_line(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/lineage/backbone/piece_02/range_8_8/post_grad")
    viewer.main.get_by_role("treeitem").filter(has_text="ir.ops.fused_add_rms_norm").first.click()


def a_kernel_in_the_code(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/code/backbone")
    viewer.main.get_by_role("option", name="output code").first.click()


DONE = [pick_in_the_diff, fold_in_the_diff, open_in_the_graph, lineage_of_a_line, a_kernel_in_the_code, scan]


@pytest.mark.parametrize("do", DONE, ids=lambda do: do.__name__)
def test_a_link_restores_what_one_sees(browser: object, viewer: Viewer, do: Any) -> None:
    do(viewer)
    seen = as_seen(viewer)
    link = viewer.page.url
    with open_page(browser, viewer.url) as other:
        other.page.goto(link)
        other.main.wait_for()
        assert as_seen(other)["lit"] == seen["lit"]
        assert as_seen(other) | {"text": ""} == seen | {"text": ""}
        assert said(other.main.inner_text()) == said(viewer.main.inner_text())
        assert other.fragment == viewer.fragment


def said(text: str) -> list[str]:
    """Without how long a search took."""
    return [line for line in text.splitlines() if not line.strip().endswith(" ms")]


def test_a_link_to_what_is_not_there_says_so(viewer: Viewer) -> None:
    viewer.expected.append("404")
    viewer.open(f"{HOME}/pipeline/backbone/piece_77")
    expect(viewer.main).to_contain_text("piece_77")
    viewer.open("run_999/rank_9/pipeline/what")
    expect(viewer.page.get_by_role("navigation", name="Views")).to_be_visible()


@pytest.mark.parametrize("fragment", ["%", "///?&&=", "x" * 5000, f"{HOME}/graph/..%2F..%2Fetc?sel=|||||", "?sel=1|2"])
def test_a_link_that_makes_no_sense_does_no_harm(viewer: Viewer, fragment: str) -> None:
    viewer.expected += ["404", "400"]
    viewer.open(fragment)
    expect(viewer.page.get_by_role("navigation", name="Views")).to_be_visible()
    viewer.press("1")
    expect(viewer.main.get_by_role("heading", level=1)).to_be_visible()
