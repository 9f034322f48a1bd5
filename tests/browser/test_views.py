"""Every view shows what the commands say of the dump."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from viewer import OURS, RANKS, TABS, VIEWS, VLLM, Viewer, cutaway

RANK = "rank_0_dp_0"
HOME = f"{VLLM}/{RANK}"
PIECE = "backbone/piece_02/range_1_16"
LOWERING = f"{PIECE}/post_grad.2.VllmIRLoweringPass"


def snapshots(listed: Any, within: str) -> list[Any]:
    """The steps of `cutaway ls --json` in one piece and range."""
    (backbone,) = (each for each in listed["compilations"] if each["name"] == "backbone")
    return [step for step in backbone["steps"] if step["selector"].startswith(f"{within}/")]


@pytest.fixture(scope="module", name="listed")
def _listed(dump: Path) -> Any:
    return cutaway("ls", dump, "--run", VLLM, "--all")


@pytest.mark.parametrize("run", [OURS, RANKS, VLLM])
@pytest.mark.parametrize(("view", "tab"), list(zip(VIEWS, TABS, strict=True)), ids=VIEWS)
def test_every_view_opens(viewer: Viewer, run: str, view: str, tab: str) -> None:
    viewer.open(f"{run}/{RANK}/{view}")
    expect(viewer.page.get_by_role("link", name=tab, exact=True)).to_have_attribute("aria-current", "page")
    assert len(viewer.main.inner_text()) > 100
    assert viewer.page.locator(".problem").count() == 0
    expect(viewer.page.get_by_role("banner").get_by_text("live", exact=True)).to_have_count(0)  # it is finished


class TestOverview:
    def test_model_versions_and_compilations(self, viewer: Viewer, listed: Any) -> None:
        viewer.open(f"{HOME}/overview")
        expect(viewer.main.get_by_role("heading", level=1)).to_have_text("Qwen3ForCausalLM")
        for name, version in listed["versions"].items():
            expect(viewer.main.get_by_role("term").filter(has_text=re.compile(f"^{name}$"))).to_be_visible()
            expect(viewer.main.get_by_text(version, exact=True).first).to_be_visible()
        for compilation in listed["compilations"]:
            expect(viewer.main.get_by_text(compilation["name"], exact=True).first).to_be_visible()

    def test_pieces_in_model_order_with_equal_ones_in_one_colour(self, viewer: Viewer, listed: Any) -> None:
        viewer.open(f"{HOME}/overview")
        pieces = listed["compilations"][0]["pieces"]
        strip = viewer.main.get_by_role("group", name="Pieces of backbone in model order").get_by_role("link")
        expect(strip).to_have_count(len(pieces))
        colours: dict[str, str] = {}
        for link, piece in zip(strip.all(), pieces, strict=True):
            assert (link.get_attribute("aria-label") or "").startswith(f"{piece['name']}: ")
            colours[piece["name"]] = link.evaluate("one => getComputedStyle(one).backgroundColor")
        compiled = [piece for piece in pieces if piece["ranges"]]
        assert all(colours[piece["name"]] == colours[piece["same_as"] or piece["name"]] for piece in pieces)
        different = {colours[piece["name"]] for piece in compiled if not piece["same_as"]}
        assert len(different) == sum(not piece["same_as"] for piece in compiled)

    def test_ranks_that_differ_are_a_finding(self, viewer: Viewer, dump: Path) -> None:
        viewer.open(f"{RANKS}/{RANK}/overview")
        found = cutaway("ls", dump, "--run", RANKS)
        for process in found["processes"]:
            for name in (process["name"], *process["same"]):
                expect(viewer.main.get_by_text(name).first).to_be_visible()


class TestPipeline:
    def test_stages_and_passes_in_the_order_of_recording(self, viewer: Viewer, listed: Any) -> None:
        viewer.page.set_viewport_size({"width": 1280, "height": 4000})  # only rows in view are in the document
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        steps = [step["selector"] for step in snapshots(listed, PIECE) if step.get("graph") or step.get("pass")]
        wanted = list(dict.fromkeys(steps))  # a pass and the graph after it are one
        rows = viewer.main.get_by_role("listbox", name="Stages and passes in order").get_by_role("option")
        titles = [(row.get_attribute("title") or "").splitlines()[0] for row in rows.all()]
        assert wanted
        assert [title for title in titles if title in wanted] == wanted

    def test_a_step_says_what_the_command_says(self, viewer: Viewer, dump: Path) -> None:
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        (found,) = cutaway("diff", dump, LOWERING, "--run", VLLM)["comparisons"]
        before, after = found["nodes"]
        expect(viewer.main.get_by_role("heading", level=1)).to_have_text("post_grad.2.VllmIRLoweringPass")
        expect(viewer.main.get_by_text(f"{before} → {after} nodes").first).to_be_visible()
        for rewrite in found["rewrites"]:
            expect(viewer.main.get_by_text(rewrite["text"]).first).to_be_visible()

    def test_every_form_of_a_step(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        expect(viewer.main.get_by_text("aten.rsqrt").first).to_be_visible()
        viewer.press("f")
        expect(viewer.main.locator(".cm-content").first).to_contain_text("torch.ops.aten.pow")  # what is in view
        viewer.press("f")
        expect(viewer.main.get_by_role("tree")).to_contain_text("rsqrt")
        viewer.press("f")
        expect(viewer.main.get_by_role("button", name="Structured")).to_have_attribute("aria-pressed", "true")

    def test_passes_that_changed_nothing_can_be_hidden(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        rows = viewer.main.get_by_role("listbox", name="Stages and passes in order").get_by_role("option")
        before = rows.count()
        viewer.press("h")
        expect(rows.filter(has_text="remove_profiler_ops")).to_have_count(0)
        assert rows.count() < before
        assert "idle" in viewer.fragment


class TestGraph:
    def test_layers_are_nested_and_folded(self, viewer: Viewer, dump: Path) -> None:
        viewer.open(f"{HOME}/graph/backbone/captured")
        tree = viewer.main.get_by_role("tree")
        for layer in ("embed_tokens", "layers.0", "layers.1–3", "norm"):
            expect(tree.get_by_role("treeitem", name=re.compile(rf"^{re.escape(layer)},")).first).to_be_attached()
        expect(viewer.main.get_by_role("status").last).to_contain_text("in folded layers")

    def test_what_is_drawn_can_be_opened_until_every_node_is(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/graph/backbone/captured")
        drawn = viewer.main.get_by_role("tree").get_by_role("treeitem")
        expect(drawn.nth(10)).to_be_attached()
        told = viewer.main.get_by_role("status").last
        viewer.main.get_by_role("button", name="Open all", exact=True).click()
        expect(told).to_contain_text("354 of 354 nodes drawn")
        viewer.main.get_by_role("button", name="Fold all").click()
        expect(told).to_contain_text("in folded layers")

    def test_the_picture_has_something_in_it(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/graph/backbone/captured")
        expect(viewer.main.get_by_role("tree").get_by_role("treeitem").first).to_be_attached()
        viewer.page.wait_for_timeout(500)
        colours = viewer.page.evaluate(
            """() => { const canvas = [...document.querySelectorAll('canvas')].sort((a, b) => b.width - a.width)[0];
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const seen = new Set(); for (let i = 0; i < data.length; i += 4) seen.add(data.slice(i, i + 3).join());
            return seen.size; }"""
        )
        assert colours > 10


class TestLineage:
    def test_a_line_of_the_model_lights_what_stems_from_it(self, viewer: Viewer, dump: Path) -> None:
        viewer.open(f"{HOME}/lineage/{PIECE}/post_grad")
        line = viewer.main.get_by_role("tree", name="Lines of the model").get_by_role("treeitem", level=3)
        line.filter(has_text="ir.ops.fused_add_rms_norm").first.click()
        assert "sel=backbone" in viewer.fragment
        way = viewer.main.get_by_role("navigation", name="The way of what is selected")
        expect(way).to_contain_text("layernorm.py:88")
        expect(way).to_contain_text("fused_add_rms_norm")
        told = str(cutaway("lineage", dump, "source:layernorm.py:88", "--run", VLLM))
        kernels = re.findall(r"cpp_fused_\w+", way.inner_text())
        assert kernels
        assert all(kernel in told for kernel in kernels)

    def test_a_selection_is_lit_in_every_view(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        viewer.main.get_by_role("option").filter(has_text="rsqrt_default").first.click()
        expect(viewer.page).to_have_url(re.compile("sel="))
        selected = re.search(r"sel=[^&]+", viewer.fragment)
        assert selected
        for key in ("3", "4", "5"):
            viewer.press(key)
            viewer.settle()
            assert selected[0] in viewer.fragment


class TestStitching:
    def test_pieces_are_links(self, viewer: Viewer, listed: Any) -> None:
        viewer.open(f"{HOME}/code/backbone")
        for piece in listed["compilations"][0]["pieces"]:
            calls = viewer.main.get_by_role("button", name=re.compile(f"^{piece['name']}"))
            expect(calls.first).to_be_attached()
        viewer.main.locator("a[href$='/pipeline/backbone/piece_02']").first.click()
        expect(viewer.main.get_by_role("listbox", name="Stages and passes in order")).to_be_visible()


class TestCompare:
    def test_ranks_say_what_the_command_says(self, viewer: Viewer, dump: Path) -> None:
        one, two = (f"{dump}/{RANKS}/{name}" for name in ("rank_0_dp_0", "rank_1_dp_0"))
        (found,) = cutaway("compare", one, two)["comparisons"]
        viewer.open(f"{RANKS}/{RANK}/compare?other={RANKS}/rank_1_dp_0")
        assert not found["same"]["graphs"]
        expect(viewer.main.get_by_text("The graphs differ")).to_be_visible()
        for setting in found["configuration"]:
            expect(viewer.main.get_by_text(setting["name"]).first).to_be_attached()
        for total in found["totals"]:
            if isinstance(total["a"], int):
                row = viewer.main.get_by_role("row").filter(has_text=total["name"])
                expect(row.first).to_contain_text(re.compile(f"{total['a']}.*{total['b']}"))

    def test_ranges_side_by_side(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/compare?by=ranges")
        expect(viewer.main.get_by_text("only sizes differ").first).to_be_visible()


class TestSearch:
    @pytest.mark.parametrize("query", ["op:*rms_norm*", "dtype:i64", "layer:layers.1.mlp", "source:layernorm.py:81"])
    def test_finds_what_the_command_finds(self, viewer: Viewer, dump: Path, query: str) -> None:
        found = cutaway("find", dump, query, "--run", VLLM)
        viewer.open(f"{HOME}/search?q={query}")
        forms = len(found["forms"])
        expect(viewer.main.get_by_role("status").first).to_contain_text(f"in {forms} forms")

    @pytest.mark.parametrize(
        "query", ["op:*rms_norm*", "op:placeholder name:input_ids", "op:*rms_norm* piece:piece_02"]
    )
    def test_counts_the_stages_as_the_command_does(self, viewer: Viewer, dump: Path, query: str) -> None:
        found = cutaway("find", dump, query, "--run", VLLM)
        viewer.open(f"{HOME}/search?q={query}")
        rows = viewer.main.get_by_role("listbox", name="What was found").get_by_role("option")
        expect(rows).to_have_count(len(found["forms"]))
        told = [row.get_by_role("img").get_attribute("aria-label") or "" for row in rows.all()]
        wanted = [f"at {len(form['stages'])} of {len(form['of'])} stage" for form in found["forms"]]
        assert sorted(text.partition(" stage")[0] + " stage" for text in told) == sorted(wanted)

    def test_as_one_types(self, viewer: Viewer) -> None:
        viewer.open(f"{HOME}/pipeline/{LOWERING}")
        viewer.press("/")
        box = viewer.page.get_by_role("dialog", name="Search").get_by_role("combobox")
        expect(box).to_be_focused()
        viewer.page.keyboard.type("silu")
        expect(viewer.page.get_by_role("listbox", name="What was found").get_by_role("option").first).to_be_visible()
        viewer.press("Enter")
        expect(viewer.page.get_by_role("dialog", name="Search")).to_have_count(0)
        assert "sel=" in viewer.fragment
        row = viewer.main.locator("#row-now")
        expect(row).to_contain_text("silu")
        expect(row).to_be_in_viewport()
