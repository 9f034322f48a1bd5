"""Keeps docs/cli.md what `cutaway --help` says.

python docs/check.py            exit 1 when the page is out of date
python docs/check.py --write    write it anew
"""

from __future__ import annotations

import difflib
import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from cutaway.cli import COMMANDS, main
from cutaway.cli.why import QUESTIONS

PAGE = Path(__file__).parent / "cli.md"
WIDTH = "100"
GROUPS = {"why": QUESTIONS, "cache": ("ls", "verify", "prune")}
HEAD = """\
# The command line

<!-- Written by docs/check.py from the commands' own --help: change the help, then run it with --write. -->

A SELECTOR is a path as `cutaway ls` prints it (`backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass`).
Any unambiguous part of it will do: its last components, some of its components in a row, or components in
order and a part of the last one (`range_8_8/lowering`). A wrong one is answered with the nearest names.

Every command reads only (`run` writes what it is asked to record), and exits with 0, with 1 when there is a
difference or a finding, or with 2 for bad use, with a sentence on standard error that says what to do.
The shapes of `--json` are in [dump-format.md](dump-format.md#json-of-the-commands).
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _section("cutaway", [])]
    for name in COMMANDS:
        parts.append(_section(f"cutaway {name}", [name]))
        parts += [_section(f"cutaway {name} {part}", [name, part]) for part in GROUPS.get(name, ())]
    return "\n".join(parts)


def _section(title: str, arguments: list[str]) -> str:
    os.environ["COLUMNS"] = WIDTH
    text = io.StringIO()
    with redirect_stdout(text):
        main([*arguments, "--help"])
    return f"## {title}\n\n```text\n{text.getvalue().strip()}\n```\n"


def check(write: bool) -> int:
    """Compare the page with the commands, or write it; returns the exit code."""
    wanted = page()
    if write:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if found == wanted:
        return 0
    lines = difflib.unified_diff(
        found.splitlines(keepends=True), wanted.splitlines(keepends=True), "docs/cli.md", "cutaway --help"
    )
    sys.stdout.writelines(lines)
    sys.stdout.write("\ndocs/cli.md is out of date: run python docs/check.py --write\n")
    return 1


if __name__ == "__main__":
    sys.exit(check(write="--write" in sys.argv[1:]))
