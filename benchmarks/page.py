"""How long the page takes, measured in the browser, for a dump of many layers; and the size of its report.

vLLM compiles a Llama (hidden size 256, random weights) on the CPU, recorded by Cutaway; or --dump names a recording.
Then `cutaway view` serves it to Chromium ($CHROMIUM, `chromium` or `chromium-browser`), 1280 by 800:

opening        from the navigation until the pieces of the model are painted, with nothing cached by the browser
pass diff      from the key until what the next changing pass did is painted; each pass for the first time
search         from a letter typed until what it finds is painted, all nodes of the dump being searched
panning        between frames, while a drawn graph with its layers open is dragged, for four seconds

    python benchmarks/page.py --layers 80 --repeat 5
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import _measure
from playwright.sync_api import Browser, Page, sync_playwright

QUERY = "fused_add_rms"
GOALS = {"opening": 1500.0, "pass diff": 200.0, "search": 100.0}
PAINTED = """(wanted) => new Promise((done) => {
  const look = () => {
    if (wanted()) requestAnimationFrame(() => setTimeout(() => done(performance.now())));
    else setTimeout(look, 1);
  };
  look();
})"""
"""Until something is in the document, and the frame after it was painted."""


@dataclass
class Served:
    """A server that runs, and the first process of the dump's newest run."""

    url: str
    home: str


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, default=80, metavar="N")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="times that the page is opened")
    parser.add_argument("--dump", type=Path, metavar="DUMP", help="this recording; vLLM is not run")
    arguments = parser.parse_args()
    layers, repeat = (4, 1) if arguments.quick else (arguments.layers, arguments.repeat)
    if arguments.dump:
        recording: Any = nullcontext(arguments.dump)
    else:
        recording = _recorded(layers)
    with recording as dump:
        found = {"load": os.getloadavg()[0], "report": report(dump), **in_the_browser(dump, repeat)}
    _measure.report(arguments.json, found, __doc__ or "", [_times(found), _report(found)])


@contextmanager
def _recorded(layers: int) -> Generator[Path]:
    with _measure.vllm_run(layers, "cutaway", arguments=("--model", "llama")) as ran:
        yield ran.out


def in_the_browser(dump: Path, repeat: int) -> dict[str, Any]:
    found = next((name for name in ("chromium", "chromium-browser") if shutil.which(name)), None)
    chromium = os.environ.get("CHROMIUM") or (found and shutil.which(found))
    if not chromium:
        raise SystemExit("no browser: install Chromium (apt-get install chromium), or name one with CHROMIUM")
    with _serving(dump) as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        opened = [opening(browser, served) for _ in range(repeat + 1)]
        page = _new_page(browser)
        numbers = {
            "opening": opened[1:],
            "opening, the server's first": opened[:1],
            "pass diff": pass_diffs(page, served),
            "search": keystrokes(page, served),
        }
        drawn, frames = panning(page, served)
        browser.close()
    return {"milliseconds": numbers | {"panning": frames}, "nodes": drawn}


def opening(browser: Browser, served: Served) -> float:
    """Milliseconds from the navigation until the pieces are painted, in a browser that was never here."""
    page = _new_page(browser)
    page.goto(served.url, wait_until="commit")
    took: float = page.evaluate(f"({PAINTED})(() => document.querySelector('main [role=group] a'))")
    page.context.close()
    return took


def pass_diffs(page: Page, served: Served) -> list[float]:
    """Milliseconds from the key to each next pass that changed the graph."""
    pieces = json.loads(_ask(page, served, "overview"))["compilations"][0]["pieces"]
    piece = next(each for each in pieces[1:] if each["compiled"])
    page.goto(f"{served.url}#/{served.home}/pipeline/backbone/{piece['name']}")
    page.wait_for_selector("[role=option][aria-selected=true]")
    page.wait_for_timeout(2000)
    took: list[float] = []
    for _ in range(12):
        before = page.evaluate(f"({STEP})()")
        page.evaluate(
            "addEventListener('keydown', () => { window.began = performance.now(); }, {once: true, capture: true})"
        )
        page.keyboard.press("Shift+ArrowDown")
        page.wait_for_timeout(50)
        if page.evaluate(f"({STEP})()") == before:
            break
        done: float = page.evaluate(f"({PAINTED})(() => !document.querySelector('.loading') && ({ROWS})() > 0)")
        took.append(done - page.evaluate("window.began"))
        page.wait_for_timeout(400)
    return took


STEP = "() => document.querySelector('#step-now')?.title"
ROWS = "() => document.querySelectorAll('main h1 ~ *, main [role=listbox] [role=option]').length"


def keystrokes(page: Page, served: Served) -> list[float]:
    """Milliseconds from each letter of a query until what it finds is painted."""
    page.goto(f"{served.url}#/{served.home}/search")
    box = page.get_by_role("combobox", name="Search")
    box.fill("a")
    page.wait_for_selector("main [role=option]")
    page.wait_for_timeout(1500)
    box.fill("")
    page.wait_for_timeout(500)
    took: list[float] = []
    for letter in QUERY:
        page.evaluate(WATCH)
        page.keyboard.type(letter)
        page.wait_for_timeout(600)
        if (ms := page.evaluate("window.took")) is not None:  # otherwise the letter changed nothing
            took.append(ms)
    return took


WATCH = """() => { window.took = null; let began = 0;
  addEventListener('keydown', () => { began = performance.now(); }, {once: true, capture: true});
  const main = document.querySelector('main');
  new MutationObserver((_, watch) => { watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.took = performance.now() - began; }));
  }).observe(main, {childList: true, subtree: true, characterData: true, attributes: true}); }"""
"""From the next key until the frame after what is shown has changed."""


def panning(page: Page, served: Served) -> tuple[int, list[float]]:
    """How many nodes are drawn, and milliseconds between frames while they are dragged."""
    page.goto(f"{served.url}#/{served.home}/graph/backbone/captured")
    page.wait_for_selector("[role=treeitem]", state="attached")
    page.wait_for_timeout(1500)
    page.keyboard.press("g")
    for _ in range(40):  # to the stack of equal layers, which is then shown one by one
        if "×" in page.evaluate("() => document.querySelector('[role=treeitem][aria-selected=true]')?.innerText ?? ''"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("s")
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Open all", exact=True).click()
    page.wait_for_timeout(10_000)
    page.keyboard.press("0")
    page.wait_for_timeout(500)
    drawn = int(re.sub(r"\D", "", page.get_by_role("status").last.inner_text().split(" of ")[0]))
    page.evaluate(
        """() => { window.frames_ = []; let last = performance.now();
        const tick = (now) => { window.frames_.push(now - last); last = now; requestAnimationFrame(tick); };
        requestAnimationFrame(tick); }"""
    )
    page.mouse.move(640, 400)
    page.mouse.down()
    end = time.monotonic() + 4
    step = 0
    while time.monotonic() < end:
        step += 1
        page.mouse.move(640 + 300 * ((step // 30) % 2 * 2 - 1) * (step % 30) / 30, 400 - (step * 7) % 300)
    page.mouse.up()
    frames: list[float] = page.evaluate("window.frames_")
    return drawn, frames[2:]


def report(dump: Path) -> dict[str, float]:
    """Bytes of the report, and seconds that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        began = time.monotonic()
        command = [sys.executable, "-m", "cutaway.cli", "report", str(dump), "-o", str(file)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {"seconds": time.monotonic() - began, "bytes": file.stat().st_size}


@contextmanager
def _serving(dump: Path) -> Generator[Served]:
    command = [sys.executable, "-m", "cutaway.cli", "view", str(dump), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        url = json.loads(process.stdout.readline())["url"]
        asked = subprocess.run(
            [sys.executable, "-m", "cutaway.web.data", str(dump), "index"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        index = json.loads(asked.stdout)
        yield Served(url, f"{index['run']}/{index['process']}")
    finally:
        process.terminate()
        process.wait()


def _new_page(browser: Browser) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(120_000)
    return context.new_page()


def _ask(page: Page, served: Served, path: str) -> str:
    base, _, query = served.url.partition("?")
    return page.request.get(f"{base}api/{served.home}/{path}?{query}").text()


def _times(found: dict[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, times in found["milliseconds"].items():
        title = f"{name}, {found['nodes']} nodes drawn: between frames" if name == "panning" else name
        slow = sorted(times)[int(0.95 * (len(times) - 1))] if times else float("nan")
        rows.append(
            [
                title,
                f"{median(times):.0f}" if times else "",
                f"{slow:.0f}",
                f"{GOALS[name]:.0f}" if name in GOALS else "",
            ]
        )
    return _measure.table(["in the browser, ms", "middle", "95 of 100 under", "goal"], rows)


def _report(found: dict[str, Any]) -> str:
    made = found["report"]
    return _measure.table(["report", "MB", "s"], [["one file", f"{made['bytes'] / 1e6:.1f}", f"{made['seconds']:.1f}"]])


if __name__ == "__main__":
    main()
