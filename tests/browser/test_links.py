"""A link restores what one sees: opened by somebody else, the page looks the same."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Locator, expect
from viewer import RANKS, VLLM, Viewer, open_page

FAINT = 96
HOME = f"{VLLM}/rank_0_dp_0"
SMALL = "backbone/piece_02/range_1_16/inductor_post_grad.13.decompose_auto_functionalized"
STEP = "backbone/piece_02/range_1_16/post_grad.2.VllmIRLoweringPass"


LAID_OUT = """() => {
  if (!document.querySelector('main .drawn')) return true;
  const told = [...document.querySelectorAll('main .drawn [role=status]')].map((one) => one.innerText).join();
  return told.includes('nodes drawn') && !told.includes('Laying out') && !told.includes('the quick way');
}"""
"""Whether a drawing, where there is one, is there, and not one that was laid out in a hurry, which is soon replaced."""


def at_rest(viewer: Viewer) -> Image.Image:
    """What is seen once it has come to rest; without what says how long something took, and without the keyboard's."""
    viewer.settle()
    viewer.page.wait_for_function(LAID_OUT)
    viewer.page.mouse.move(2, 2)
    seen: list[bytes] = []
    for _ in range(40):
        viewer.page.evaluate(
            """() => { document.activeElement?.blur();
              document.querySelectorAll('.told').forEach((one) => { one.style.visibility = 'hidden'; }); }"""
        )
        viewer.page.wait_for_timeout(150)
        seen.append(viewer.page.screenshot(animations="disabled"))
        if len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]:
            break
    return Image.open(BytesIO(seen[-1])).convert("RGB")


def wheel(viewer: Viewer, over: Locator, by: int) -> None:
    """Scrolls a pane as somebody does."""
    over.hover()
    viewer.page.mouse.wheel(0, by)
    viewer.page.wait_for_timeout(100)


def drag_bar(viewer: Viewer, bar: Locator, by: int) -> None:
    """Moves the bar between two panes up or down."""
    bar.hover()
    box = bar.bounding_box()
    assert box is not None
    viewer.page.mouse.down()
    viewer.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + by, steps=3)
    viewer.page.mouse.up()


def pane(viewer: Viewer, name: str) -> Locator:
    """A list or a text by what it is called when it is read aloud."""
    return viewer.main.get_by_label(name, exact=True).first


def scroll_the_overview(viewer: Viewer) -> None:
    """One piece is told about, a long finding or the configuration is unfolded, and all is scrolled."""
    viewer.open(f"{HOME}/overview")
    viewer.main.get_by_role("group", name="Pieces of backbone in model order").get_by_role("link").nth(4).focus()
    viewer.main.get_by_text("All of context.json").click()
    wheel(viewer, viewer.main.get_by_role("heading", level=1), 300)


def pick_in_the_diff(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/pipeline/{STEP}")
    viewer.main.get_by_role("button", name="Split").click()
    viewer.main.get_by_role("option").filter(has_text="rsqrt_default").last.click()
    wheel(viewer, pane(viewer, "Rows of both graphs"), 173)
    wheel(viewer, pane(viewer, "Stages and passes in order"), 90)


def fold_in_the_diff(viewer: Viewer) -> None:
    """A layer without a change is opened, all by keys."""
    viewer.open(f"{HOME}/pipeline/{STEP}")
    viewer.press("h")
    viewer.main.get_by_role("listbox").last.focus()
    viewer.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight")


def widen_the_list_of_steps(viewer: Viewer) -> None:
    """A bar between panes is moved, and another step is gone to."""
    viewer.open(f"{HOME}/pipeline/{STEP}")
    viewer.main.get_by_role("separator").first.hover()
    viewer.page.mouse.down()
    viewer.page.mouse.move(555, 300, steps=3)
    viewer.page.mouse.up()
    viewer.press("j", "j", "j")


def unfold_the_text(viewer: Viewer) -> None:
    """Of the text as it runs, what is unchanged is unfolded on both sides."""
    viewer.open(f"{HOME}/pipeline/{SMALL}?form=raw&diff=split")
    viewer.main.locator(".cm-collapsedLines").last.click()
    wheel(viewer, viewer.main.locator(".cm-content").last, 260)


def move_in_the_drawing(viewer: Viewer) -> None:
    """A step, drawn: farther, somewhere else, with a box chosen."""
    viewer.open(f"{HOME}/pipeline/{STEP}?form=drawn")
    viewer.main.get_by_role("treeitem").nth(2).wait_for(state="attached")
    viewer.press("-", "n", "n")
    viewer.page.wait_for_timeout(400)
    drag(viewer)


def open_in_the_graph(viewer: Viewer) -> None:
    viewer.open(f"{HOME}/graph/backbone/captured")
    viewer.main.get_by_role("combobox", name="Colour").select_option("dtype")
    viewer.main.get_by_role("button", name="Weights").click()
    viewer.main.get_by_role("treeitem").nth(4).wait_for(state="attached")
    viewer.press("g", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight")
    viewer.page.wait_for_timeout(600)
    drag(viewer)
    viewer.press("+", "+")
    viewer.page.wait_for_timeout(400)


def drag(viewer: Viewer) -> None:
    """The drawing, by hand."""
    box = viewer.main.locator("canvas").first.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(x - 77, y - 131, steps=4)
    viewer.page.mouse.up()


def lineage_of_a_line(viewer: Viewer) -> None:
    """All three panes are scrolled after a line was picked, and a layer is folded."""
    viewer.open(f"{HOME}/lineage/backbone/piece_02/range_8_8/post_grad")
    viewer.main.get_by_role("treeitem").filter(has_text="ir.ops.fused_add_rms_norm").first.click()
    viewer.main.get_by_role("button", name="Fold", exact=True).nth(1).click()
    wheel(viewer, pane(viewer, "Lines of the model"), 120)
    wheel(viewer, pane(viewer, "Graph, by layer"), 210)
    wheel(viewer, pane(viewer, "Output code"), 700)


def a_kernel_in_the_lineage(viewer: Viewer) -> None:
    """The code of another kernel, scrolled, with more room."""
    viewer.open(f"{HOME}/lineage/backbone/piece_02/range_8_8/post_grad")
    viewer.main.get_by_role("group", name="Calls of kernels").get_by_role("button").last.click()
    drag_bar(viewer, viewer.main.get_by_role("separator", name="Height of the output code"), -60)
    wheel(viewer, viewer.main.locator(".cm-content").last, 240)


def a_kernel_in_the_code(viewer: Viewer) -> None:
    """Far down in the code, with long lines wrapped."""
    viewer.open(f"{HOME}/code/backbone")
    viewer.main.get_by_role("option", name="output code").first.click()
    viewer.main.get_by_role("button", name="Wrap").click()
    wheel(viewer, viewer.main.locator(".cm-content"), 2600)
    wheel(viewer, pane(viewer, "Generated texts"), 170)


def walk_the_stitching(viewer: Viewer) -> None:
    """From call to call, by keys."""
    viewer.open(f"{HOME}/code/backbone")
    viewer.main.locator(".cm-content").focus()
    viewer.press("n", "n", "n", "n")
    wheel(viewer, pane(viewer, "Pieces"), 200)


def compare_two_ranks(viewer: Viewer) -> None:
    """Pieces that are the same are listed, a stage is chosen, and both are scrolled."""
    viewer.open(f"{RANKS}/rank_0_dp_0/compare?other={RANKS}/rank_1_dp_0")
    viewer.main.get_by_role("list", name="Stages").get_by_role("button").nth(2).click()
    for same in viewer.main.get_by_text("the same on both sides", exact=False).all():
        if same.get_attribute("aria-expanded") == "false":
            same.click()
            break
    wheel(viewer, viewer.main.get_by_role("table"), 130)


def scan(viewer: Viewer) -> None:
    """Search, with a query that was typed, and a result that is not the first."""
    viewer.open(f"{HOME}/search")
    viewer.page.get_by_role("combobox", name="Search").fill("op:*m*")
    expect(pane(viewer, "What was found").get_by_role("option").first).to_be_visible()
    viewer.press("ArrowDown", "ArrowDown", "ArrowDown")
    wheel(viewer, pane(viewer, "What was found"), 310)


DONE = [
    scroll_the_overview,
    pick_in_the_diff,
    fold_in_the_diff,
    widen_the_list_of_steps,
    unfold_the_text,
    move_in_the_drawing,
    open_in_the_graph,
    lineage_of_a_line,
    a_kernel_in_the_lineage,
    a_kernel_in_the_code,
    walk_the_stitching,
    compare_two_ranks,
    scan,
]


@pytest.mark.parametrize("do", DONE, ids=lambda do: do.__name__)
def test_a_link_restores_what_one_sees(browser: object, viewer: Viewer, do: Any, tmp_path: Path) -> None:
    """To the pixel: what is selected, open, chosen, scrolled, and how wide panes are."""
    do(viewer)
    seen = at_rest(viewer)
    with open_page(browser, viewer.url) as other:
        other.page.goto(viewer.page.url)
        other.main.wait_for()
        found = at_rest(other)
        assert other.fragment == viewer.fragment
    # Edges of what is drawn are smoothed, by fractions of a pixel that a link rounds.
    differs = ImageChops.difference(seen, found).convert("L").point(lambda value: 255 * (value > FAINT)).getbbox()
    if differs:
        seen.save(tmp_path / "seen.png")
        found.save(tmp_path / "found.png")
    assert differs is None, f"{viewer.fragment}: {tmp_path}"


def test_the_back_key_restores_how_far_it_was_scrolled(viewer: Viewer) -> None:
    """Of the page that was left, as it was left; also when nobody waited in between."""
    viewer.open(f"{HOME}/code/backbone")
    viewer.main.get_by_role("option", name="output code").first.click()
    viewer.main.locator(".cm-content").hover()
    viewer.page.mouse.wheel(0, 2600)
    viewer.page.wait_for_function("() => document.querySelector('main .cm-scroller').scrollTop > 1000")
    before = viewer.main.locator(".cm-scroller").evaluate("one => one.scrollTop")
    viewer.page.keyboard.press("1")
    expect(viewer.main.get_by_role("heading", level=1)).to_have_text("Qwen3ForCausalLM")
    viewer.page.go_back()
    viewer.settle()
    viewer.main.locator(".cm-content").wait_for()
    viewer.page.wait_for_timeout(500)
    assert abs(viewer.main.locator(".cm-scroller").evaluate("one => one.scrollTop") - before) <= 1


@pytest.mark.parametrize(
    ("fragment", "what", "near"),
    [
        (f"{HOME}/graph/backbone/piece_77", "backbone has no piece_77", "backbone/piece_0"),
        (f"{HOME}/graph/backbone/captured?node=rms_norm_999", "This graph has no node rms_norm_999", "rms_norm"),
        (f"{HOME}/pipeline/backbone/piece_02/range_1_16/post_grad.9.VllmIRLowering", "has no stage called", STEP),
        (f"{RANKS}/rank_0_dp_0/compare?other={RANKS}/rank_7", "to compare with", "rank_1_dp_0"),
        ("run_999/rank_0_dp_0/graph", "There is no run called run_999", "run_00"),
    ],
    ids=["piece", "node", "stage", "rank", "run"],
)
def test_a_link_to_what_is_not_there_says_so(viewer: Viewer, fragment: str, what: str, near: str) -> None:
    viewer.open(fragment)
    notice = viewer.page.get_by_role("alert")
    expect(notice).to_contain_text(what)
    expect(notice).to_contain_text(near)
    expect(viewer.main.get_by_role("heading", level=1).or_(viewer.main.locator("canvas")).first).to_be_visible()
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)


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
