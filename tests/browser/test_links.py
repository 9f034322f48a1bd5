"""A link restores what one sees: opened by somebody else, the page looks the same."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from viewer import VLLM, Viewer, open_page

HOME = f"{VLLM}/rank_0_dp_0"
STEP = "backbone/piece_02/range_1_16/post_grad.2.VllmIRLoweringPass"


def as_seen(viewer: Viewer) -> dict[str, Any]:
    """What is seen once it has come to rest: code is coloured, and lists are measured, a little after they come."""
    viewer.settle()
    seen: list[dict[str, Any]] = []
    for _ in range(30):
        viewer.page.wait_for_timeout(300)
        seen.append(_seen(viewer))
        if len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]:
            break
    return seen[-1]


def _seen(viewer: Viewer) -> dict[str, Any]:
    """The text, what is selected and whether it is in view, what is open, and how far lists are scrolled.

    Of code only how far it is scrolled: an editor has some lines more or less outside of what is in view.
    """
    return viewer.page.evaluate(
        """() => { const main = document.querySelector('main');
          const inView = (one) => { const box = one.getBoundingClientRect();
            return box.bottom > 0 && box.top < innerHeight; };
          const editors = [...main.querySelectorAll('.cm-editor')];
          editors.forEach((one) => { one.style.visibility = 'hidden'; });
          const text = main.innerText;
          editors.forEach((one) => { one.style.visibility = ''; });
          return {
            text: text.split('\\n').filter((line) => !line.endsWith(' ms')),
            lit: [...main.querySelectorAll('[role=option][aria-selected=true], .lit')].filter(inView)
              .map((one) => one.innerText),
            pressed: [...main.querySelectorAll('[aria-pressed=true]')].map((one) => one.innerText),
            chosen: [...main.querySelectorAll('select')].map((one) => one.value),
            open: [...main.querySelectorAll('[aria-expanded=true]')].map((one) => one.ariaLabel ?? one.innerText),
            heads: [...main.querySelectorAll('h1, h2')].map((one) => one.innerText),
            scroll: [...main.querySelectorAll('[role=listbox], [role=tree], [role=grid], .cm-scroller')].map(
              (one) => Math.round(one.scrollTop)),
          }; }"""
    )


def scan(viewer: Viewer) -> None:
    """Search, with a query that was typed."""
    viewer.open(f"{HOME}/search")
    viewer.page.get_by_role("combobox", name="Search").fill("op:*mul*")
    expect(viewer.main.get_by_role("listbox", name="What was found").get_by_role("option").first).to_be_visible()


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
    """What is selected, open, chosen and in view; and to everybody who opens it the same, to the pixel."""
    do(viewer)
    seen = as_seen(viewer)
    found: list[dict[str, Any]] = []
    for _ in range(2):
        with open_page(browser, viewer.url) as other:
            other.page.goto(viewer.page.url)
            other.main.wait_for()
            found.append(as_seen(other))
            assert other.fragment == viewer.fragment
    assert found[0] == found[1]
    for what in ("pressed", "chosen", "open", "heads"):
        assert found[0][what] == seen[what], what
    assert set(found[0]["lit"]) & set(seen["lit"]) or not seen["lit"]


def test_a_link_to_what_is_not_there_shows_what_is(viewer: Viewer) -> None:
    viewer.expected.append("404")
    viewer.open(f"{HOME}/code/backbone/piece_77/range_1_16/output_code")
    expect(viewer.main.get_by_role("listbox", name="Generated texts")).to_be_visible()
    viewer.open("run_999/rank_9/pipeline/what")
    expect(viewer.page.get_by_role("navigation", name="Views")).to_be_visible()


@pytest.mark.parametrize("fragment", ["%", "///?&&=", "x" * 5000, f"{HOME}/graph/..%2F..%2Fetc?sel=|||||", "?sel=1|2"])
def test_a_link_that_makes_no_sense_does_no_harm(viewer: Viewer, fragment: str) -> None:
    viewer.expected += ["404", "400"]
    viewer.open(fragment)
    expect(viewer.page.get_by_role("navigation", name="Views")).to_be_visible()
    viewer.press("1")
    expect(viewer.main.get_by_role("heading", level=1)).to_be_visible()
