"""`cutaway view A --against B`: two dumps in one page, and both of them in every view."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from viewer import Viewer, cutaway, open_page, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from fused_dump import PASS, fused_dump

HERE, THERE = "run_001/rank_0_dp_0", "new:run_001/rank_0_dp_0"


@pytest.fixture(scope="module", name="dumps")
def _dumps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model twice; in the second one a fusion did not fire in one layer."""
    folder = tmp_path_factory.mktemp("against")
    fused_dump(folder / "old", layers=4)
    fused_dump(folder / "new", layers=4, odd={2: "missing"})
    return folder / "old", folder / "new"


@pytest.fixture(scope="module", name="both")
def _both(dumps: tuple[Path, Path]) -> Iterator[str]:
    with serving(dumps[0], "--against", str(dumps[1])) as url:
        yield url


@pytest.fixture(name="viewer")
def _viewer(browser: object, both: str) -> Iterator[Viewer]:
    with open_page(browser, both) as viewer:
        yield viewer


@pytest.fixture(scope="module", name="told")
def _told(dumps: tuple[Path, Path]) -> Any:
    (found,) = cutaway("compare", *dumps)["comparisons"]
    return found


def test_the_dumps_are_compared_and_it_says_what_the_command_says(viewer: Viewer, told: Any) -> None:
    viewer.open(f"{HERE}/compare")
    main = viewer.main
    expect(main.get_by_role("combobox").filter(has_text=THERE)).to_have_value(THERE)
    expect(main.get_by_text(f"old:{HERE}").first).to_be_visible()
    assert not told["same"]["graphs"]
    expect(main.get_by_text("The graphs differ")).to_be_visible()
    for total in told["totals"]:
        header = viewer.page.get_by_role("rowheader", name=total["name"], exact=True)
        row = main.get_by_role("row").filter(has=header)
        wanted = ["–" if total[side] is None else str(total[side]) for side in ("a", "b")]
        expect(row.get_by_role("cell")).to_have_text(wanted)


def test_where_they_part_both_graphs_are_beside_each_other(viewer: Viewer) -> None:
    viewer.open(f"{HERE}/compare")
    rewrites = viewer.main.get_by_role("list", name="Rewrites").get_by_role("listitem")
    expect(rewrites).to_have_count(1)
    expect(rewrites).to_contain_text("quant_fp8 deleted")
    expect(rewrites).to_contain_text("layers.2.input_layernorm")
    viewer.press("ArrowRight")
    expect(rewrites.filter(has_text="rms_norm_quant")).to_have_count(1)
    there = viewer.fragment
    assert "step=" in there
    viewer.open(there.removeprefix("/"))  # as from a link that somebody sent
    expect(rewrites.filter(has_text="rms_norm_quant")).to_have_count(1)


def test_the_other_dump_can_be_looked_at_in_the_other_views(viewer: Viewer) -> None:
    viewer.open(f"{HERE}/overview")
    runs = viewer.page.get_by_role("banner").get_by_role("combobox").first
    runs.select_option("new:run_001")
    viewer.settle()
    assert viewer.fragment.startswith(f"/{THERE}/")
    viewer.open(f"{THERE}/pipeline/{PASS}")
    expect(viewer.main.get_by_role("heading", level=1)).to_have_text(PASS.rpartition("/")[2])
    expect(viewer.main.get_by_text("×3 of 4").first).to_be_visible()
    viewer.open(f"{HERE}/pipeline/{PASS}")
    expect(viewer.main.get_by_text("×4", exact=True).first).to_be_visible()
