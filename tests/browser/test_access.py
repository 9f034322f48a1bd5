"""Nobody is shut out: axe finds nothing serious in any view, in either theme; the keyboard alone is enough."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from viewer import RANKS, VLLM, Viewer, open_page

HOME = f"{VLLM}/rank_0_dp_0"
STEP = "backbone/piece_02/range_1_16/post_grad.2.VllmIRLoweringPass"
SEL = f"sel=backbone|piece_02|60|{STEP}|12"
PLACES = {
    "overview": f"{HOME}/overview",
    "overview, ranks": f"{RANKS}/rank_0_dp_0/overview",
    "pipeline": f"{HOME}/pipeline/{STEP}?{SEL}",
    "pipeline, split": f"{HOME}/pipeline/{STEP}?diff=split",
    "pipeline, raw": f"{HOME}/pipeline/{STEP}?form=raw",
    "pipeline, drawn": f"{HOME}/pipeline/{STEP}?form=drawn",
    "pipeline, code": f"{HOME}/pipeline/backbone/piece_02/range_1_16/output_code",
    "graph": f"{HOME}/graph/backbone/captured",
    "lineage": f"{HOME}/lineage/{STEP}?{SEL}",
    "code": f"{HOME}/code/backbone",
    "compare": f"{HOME}/compare",
    "compare, ranks": f"{RANKS}/rank_0_dp_0/compare?other={RANKS}/rank_1_dp_0",
    "search": f"{HOME}/search?q=op:*rms_norm*",
}
SERIOUS = ("serious", "critical")


def found_by_axe(viewer: Viewer, rules: dict[str, Any]) -> list[str]:
    """What axe calls serious, and where."""
    violations: list[Any] = Axe().run(viewer.page, options=rules).response["violations"]
    return [
        f"{each['impact']}: {each['id']}: {node['target']} {node['failureSummary']}"
        for each in violations
        if each["impact"] in SERIOUS
        for node in each["nodes"][:3]
    ]


RULES: dict[str, dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast", "link-in-text-block"]},
}
"""In the other theme only colours differ."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: object, url: str, theme: str) -> None:
    found: dict[str, list[str]] = {}
    with open_page(browser, url, color_scheme=theme, reduced_motion="reduce") as viewer:
        for name, place in PLACES.items():
            viewer.open(place)
            viewer.page.wait_for_timeout(300)
            found[name] = found_by_axe(viewer, RULES[theme])
        viewer.open(PLACES["pipeline"])
        viewer.press("?")
        expect(viewer.page.get_by_role("dialog", name="Keys")).to_be_visible()
        found["keys"] = found_by_axe(viewer, RULES[theme])
        viewer.press("Escape", "/")
        viewer.page.keyboard.type("rms_norm")
        results = viewer.page.get_by_role("listbox", name="What was found")
        expect(results.get_by_role("option").first).to_be_visible()
        found["search from any view"] = found_by_axe(viewer, RULES[theme])
    assert {name: each for name, each in found.items() if each} == {}


class TestKeys:
    def test_the_whole_way_from_the_overview_to_a_kernel(self, viewer: Viewer) -> None:
        """Overview, a piece, its passes, the graph, lineage, search: no mouse."""
        page, main = viewer.page, viewer.main
        viewer.open(f"{HOME}/overview")
        tab_to(viewer, "piece_00: ")
        viewer.press("ArrowRight", "ArrowRight", "Enter")
        expect(main.get_by_role("listbox", name="Stages and passes in order")).to_be_visible()
        assert "/pipeline/backbone/piece_02" in viewer.fragment
        viewer.settle()

        seen = [viewer.fragment]
        for _ in range(4):  # each next step that changed the graph
            viewer.press("Shift+ArrowDown")
            viewer.settle()
            steps = main.get_by_role("listbox", name="Stages and passes in order")
            expect(steps.get_by_role("option", selected=True)).to_be_visible()
            seen.append(viewer.fragment)
        assert len(set(seen)) == 5
        viewer.press("Shift+ArrowUp")
        expect(page).to_have_url(re.compile(re.escape(seen[3]) + "$"))

        viewer.press("3")
        expect(main.get_by_role("tree")).to_be_visible()
        assert "/graph/backbone/piece_02" in viewer.fragment
        viewer.settle()
        expect(main.get_by_role("treeitem").nth(3)).to_be_attached()
        viewer.press("g", "ArrowDown", "ArrowDown", "ArrowRight")

        viewer.press("4")
        expect(main.get_by_role("tree", name="Lines of the model")).to_be_visible()
        viewer.settle()
        tab_to(viewer, "Lines of the model")
        viewer.press("ArrowDown", "ArrowDown", "ArrowDown", "Enter")
        expect(page).to_have_url(re.compile("sel=backbone"))

        viewer.press("/")
        expect(page.get_by_role("dialog", name="Search")).to_be_visible()
        page.keyboard.type("op:*silu*")
        expect(page.get_by_role("listbox", name="What was found").get_by_role("option").first).to_be_visible()
        viewer.press("Enter")
        expect(page.get_by_role("dialog", name="Search")).to_have_count(0)
        viewer.press("Escape")
        expect(page).not_to_have_url(re.compile("sel="))

    def test_all_views_by_number_and_back(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/overview")
        for key, view in zip("234567", ("pipeline", "graph", "lineage", "code", "compare", "search"), strict=True):
            viewer.press(key)
            viewer.page.wait_for_url(re.compile(f"/{view}"))
            if view == "search":
                viewer.press("Escape")
        viewer.page.go_back()
        expect(viewer.page).to_have_url(re.compile("/compare"))

    def test_every_view_lists_its_keys(self, viewer: Viewer) -> None:
        for view in ("overview", "pipeline", "graph", "lineage", "code", "compare"):
            viewer.open(f"{HOME}/{view}")
            viewer.press("?")
            dialog = viewer.page.get_by_role("dialog", name="Keys")
            expect(dialog).to_contain_text("Everywhere")
            viewer.press("Escape")
            expect(dialog).to_be_hidden()

    def test_what_has_the_focus_is_seen(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/pipeline/{STEP}")
        unseen: list[str] = []
        for _ in range(25):
            viewer.press("Tab")
            seen = viewer.page.evaluate(FOCUS)
            if not seen["ring"]:
                unseen.append(seen["what"])
        assert unseen == []


FOCUS = """() => { const one = document.activeElement; const style = getComputedStyle(one);
  const ring = one === document.body || style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
    || style.boxShadow !== 'none';
  return {ring, what: one.outerHTML.slice(0, 200)}; }"""


def tab_to(viewer: Viewer, label: str, most: int = 80) -> None:
    """Tab until what has the focus is called so."""
    for _ in range(most):
        viewer.press("Tab")
        name = viewer.page.evaluate(
            "() => document.activeElement.ariaLabel ?? document.activeElement.getAttribute('aria-label') "
            "?? document.activeElement.innerText ?? ''"
        )
        if name.startswith(label):
            return
    raise AssertionError(f"{label!r} cannot be reached with Tab")
