"""While a compile goes on: what is new appears by itself, and what one looks at stays."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect
from viewer import open_page, serving

PROGRAM = Path(__file__).with_name("compile_slowly.py")


@dataclass
class Compile:
    """A compile that waits in one of its passes, until it is told to go on."""

    dump: Path
    gate: Path
    process: subprocess.Popen[bytes]

    def go_on(self) -> None:
        self.gate.touch()


@pytest.fixture(name="compiling")
def _compiling(tmp_path: Path) -> Iterator[Compile]:
    dump, gate = tmp_path / "dump", tmp_path / "gate"
    dump.mkdir()
    process = subprocess.Popen([sys.executable, str(PROGRAM), str(dump), str(gate)])
    end = time.monotonic() + 120
    while not list(dump.glob("*/*/manifest.jsonl")) and time.monotonic() < end:  # before, there is nothing to serve
        time.sleep(0.05)
    yield Compile(dump, gate, process)
    gate.touch()
    process.kill()
    process.wait()


def test_stages_appear_while_it_compiles(browser: object, compiling: Compile) -> None:
    with serving(compiling.dump) as url, open_page(browser, url) as viewer:
        page = viewer.page
        page.set_viewport_size({"width": 1280, "height": 3000})  # only rows in view are in the document
        page.goto(url)
        expect(page.get_by_role("heading", name="passed").first).to_be_visible(timeout=120_000)
        page.evaluate("() => { window.sameLoad = true; }")
        live = page.get_by_role("banner").get_by_text("live", exact=True)
        expect(live).to_be_visible()
        viewer.press("2")
        steps = viewer.main.get_by_role("listbox", name="Stages and passes in order").get_by_role("option")
        expect(steps.filter(has_text="before_post_grad").first).to_be_visible(timeout=120_000)
        expect(steps.filter(has_text="output_code")).to_have_count(0)
        steps.filter(has_text="captured").first.click()
        expect(viewer.main.get_by_role("heading", level=1)).to_have_text("captured")
        there = viewer.fragment

        compiling.go_on()
        expect(steps.filter(has_text="output_code").first).to_be_visible(timeout=120_000)
        assert page.evaluate("() => window.sameLoad")
        assert viewer.fragment == there
        assert compiling.process.wait(120) == 0
        expect(live).to_have_count(0)
        viewer.press("1")
        expect(page.get_by_text("later").first).to_be_visible()
        assert page.evaluate("() => window.sameLoad")
