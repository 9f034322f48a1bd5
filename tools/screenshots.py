"""Makes the pictures of the page: docs/pictures/page-*.png, every view in light and dark, from a real dump.

    .venv/bin/python demo/demo.py                                                   # records demo/out/dump
    .venv/bin/python tools/screenshots.py demo/out/dump docs/pictures [--ranks DUMP]

`--ranks` names a dump of several ranks, for the picture of a comparison; without it two ranges are compared. The page
is served from a copy in which this folder is called /src/cutaway: pictures look the same wherever they are made.
Chromium is looked for as $CHROMIUM, `chromium` and `chromium-browser`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
CALLED = "/src/cutaway"
KERNEL = "6.12.0"
SIZE = {"width": 1280, "height": 800}
SCALE = 1.5
COLOURS = 256
"""A picture of text needs no more, and is a third of the size."""
PIECE = "backbone/piece_02/{range}"


@dataclass(frozen=True)
class Shot:
    """A picture.

    Attributes:
        name: of its file.
        at: the fragment of the page's URL behind run and process.
        do: what is done before it is taken.
    """

    name: str
    at: str
    do: Callable[[Page], None] = lambda page: None


def _light_a_node(page: Page) -> None:
    page.get_by_role("main").get_by_role("option").filter(has_text="rsqrt_default").first.click()
    page.mouse.move(900, 790)


def _light_a_line(page: Page) -> None:
    lines = page.get_by_role("tree", name="Lines of the model").get_by_role("treeitem", level=3)
    lines.filter(has_text="ir.ops.fused_add_rms_norm").first.click()
    page.mouse.move(640, 60)


def _open_a_layer(page: Page) -> None:
    page.get_by_role("treeitem").nth(6).wait_for(state="attached")
    page.keyboard.press("f")


SHOTS = (
    Shot("overview", "overview"),
    Shot("pipeline", f"pipeline/{PIECE}/post_grad.2.VllmIRLoweringPass", _light_a_node),
    Shot("split", f"pipeline/{PIECE}/post_grad.2.VllmIRLoweringPass?diff=split&idle=hide"),
    Shot("raw", f"pipeline/{PIECE}/post_grad.2.VllmIRLoweringPass?form=raw&idle=hide"),
    Shot("drawn", f"pipeline/{PIECE}/post_grad.2.VllmIRLoweringPass?form=drawn&idle=hide"),
    Shot("graph", "graph/backbone/captured", _open_a_layer),
    Shot("lineage", f"lineage/{PIECE}/post_grad", _light_a_line),
    Shot("stitching", "code/backbone"),
    Shot("search", "search?q=op:*rms_norm*"),
)
COMPARE = Shot("compare", "compare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ranks", type=Path, metavar="DUMP", help="a dump of several ranks")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these pictures alone")
    parser.add_argument("--width", type=int, default=SIZE["width"], help="of the window, in pixels")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    shots = [shot for shot in SHOTS if not options.only or shot.name in options.only]
    compare = [COMPARE] if not options.only or COMPARE.name in options.only else []
    if options.ranks is None:
        take(options.dump, [*shots, *compare], options.folder, options.width)
        return
    take(options.dump, shots, options.folder, options.width)
    take(options.ranks, compare, options.folder, options.width)


def take(dump: Path, shots: list[Shot], folder: Path, width: int) -> None:
    """The pictures of one dump's newest run."""
    if not shots:
        return
    with served(dump) as (url, home, compiled), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium())
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport={**SIZE, "width": width},
                device_scale_factor=SCALE,
                color_scheme=theme,
                reduced_motion="reduce",
            )
            page = context.new_page()
            for shot in shots:
                file = folder / f"page-{shot.name}-{theme}.png"
                file.write_bytes(picture(page, f"{url}#/{home}/{shot.at.replace('{range}', compiled)}", shot))
                print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
            context.close()
        browser.close()


def picture(page: Page, url: str, shot: Shot) -> bytes:
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_function("() => document.querySelector('main')?.innerText && !document.querySelector('.loading')")
    page.wait_for_timeout(1500)
    shot.do(page)
    page.wait_for_timeout(1500)
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = taken.quantize(palette=palette(taken), dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def palette(taken: Image.Image) -> Image.Image:
    """The colours that are seen most; small spots of a strong colour count, or a legend would lose its own."""
    counted = taken.getcolors(1 << 24) or []
    weighted = sorted(counted, key=lambda found: found[0] * (1 + (max(found[1]) - min(found[1])) / 4), reverse=True)
    chosen = [colour for _, colour in weighted[:COLOURS]]
    made = Image.new("P", (1, 1))
    made.putpalette([part for colour in chosen for part in colour])
    return made


@contextmanager
def served(dump: Path) -> Generator[tuple[str, str, str]]:
    """The address of the page on a copy of the newest run, that run's first process, and a compile range."""
    run = max(path for path in dump.iterdir() if path.name.startswith("run_"))
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "dump" / run.name
        shutil.copytree(run, copy)
        for path in copy.rglob("*"):
            if path.is_file():
                text = path.read_bytes().replace(str(ROOT).encode(), CALLED.encode())
                path.write_bytes(text.replace(platform.release().encode(), KERNEL.encode()))
        command = [sys.executable, "-m", "cutaway.cli", "view", str(copy.parent), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout
            url = json.loads(process.stdout.readline())["url"]
            first = min(path for path in run.iterdir() if path.is_dir())
            yield url, f"{run.name}/{first.name}", max(path.name for path in first.glob("backbone/*.piece_02/range_*"))
        finally:
            process.terminate()
            process.wait()


def _chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise SystemExit("no browser: install Chromium (apt-get install chromium), or name one with CHROMIUM")
    return found


if __name__ == "__main__":
    main()
