"""Draws the picture of the README: what a dump of the real vLLM looks like in a terminal.

    .venv/bin/python tools/picture.py demo/out/dump docs/pictures/dump.svg

The text is the tool's own output on that dump; nothing is typed by hand.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 150
FONT = re.compile(r"@font-face \{[^}]*\}\s*", re.DOTALL)


def command(*arguments: str) -> str:
    """What `cutaway` prints."""
    done = subprocess.run([sys.executable, "-m", "cutaway.cli", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def excerpt(text: str, lines: int, skip: str = "#") -> list[str]:
    """The first lines, cut at the picture's width; lines that begin with `skip` are left out."""
    kept = [line for line in text.splitlines() if not line.startswith(skip)]
    return [line if len(line) <= WIDTH - 2 else line[: WIDTH - 3] + "…" for line in kept[:lines]]


def tree(dump: Path) -> list[str]:
    """The first entries of the newest run's `backbone`, as `ls` would show them."""
    folder = max(dump.glob("run_*/rank_0_dp_0/backbone"))
    shown = [path.name + ("/" if path.is_dir() else "") for path in sorted(folder.iterdir())]
    return ["  ".join(name for name in shown if not name.endswith(".layers.txt"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dump", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()

    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    selector = "captured"
    index = (max(options.dump.glob("run_*/rank_0_dp_0/backbone")) / "index.md").read_text()
    section = index[index.index("### sizes", index.index("## piece_02")) :]
    parts = [
        ("VLLM_DEBUG_DUMP_PATH=dump vllm serve …   # any vLLM, unmodified", []),
        ("ls dump/run_001/rank_0_dp_0/backbone", tree(options.dump)),
        ("less dump/run_001/rank_0_dp_0/backbone/index.md", excerpt(section, 24, skip="\0")),
        (f"cutaway show dump {selector}", excerpt(command("show", str(options.dump), selector), 34)),
    ]
    for prompt, lines in parts:
        console.print(Text("$ ", style="bold green") + Text(prompt, style="bold"), overflow="ignore", no_wrap=False)
        for line in lines:
            console.print(Text(line.replace(" ", "\u00a0")), overflow="ignore", soft_wrap=False)
        console.print()
    svg = FONT.sub("", console.export_svg(title="cutaway"))
    svg = svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono")
    options.svg.write_text(svg.replace("<svg ", '<svg xml:space="preserve" ', 1))


if __name__ == "__main__":
    main()
