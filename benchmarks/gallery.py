"""The gallery of planted faults: what `isolate` and `why` name, and how long it takes.

    python benchmarks/gallery.py                    # all of tests/explain: some minutes
    python benchmarks/gallery.py --only flaky
    python benchmarks/gallery.py --vllm             # and those in the real vLLM
    python benchmarks/gallery.py --write            # puts the table into docs/debugging.md

A row is marked when something was named that is not so (`wrong`), or when less was named than could be (`not all`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "explain"))

from exhibits import GALLERY, Answer, Fault, ask, shows_the_fault  # noqa: E402 - stands in the tests' folder
from in_vllm import IN_VLLM, ask_in_vllm  # noqa: E402

PAGE = ROOT / "docs" / "debugging.md"
BEGIN, END = "<!-- made by benchmarks/gallery.py -->", "<!-- end -->"
SHOWN = ("differs", "break", "restricts", "leaves", "reason", "part", "pass", "provider", "kind", "factor", "piece")
SHOWN += ("kernel", "layer", "node")
WORDS = {"own": "the model's own", "none": "no fault"}


def main() -> None:
    arguments = _arguments()
    wanted = [(fault, ask) for fault in GALLERY if not arguments.only or fault.name in arguments.only]
    wanted += [(fault, ask_in_vllm) for fault in IN_VLLM] if arguments.vllm else []
    kept = _kept(arguments.keep)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.at_once) as pool:
        places = [Path(folder) / str(number) for number in range(len(wanted))]
        asked = [pool.submit(_row, fault, how, place) for (fault, how), place in zip(wanted, places, strict=True)]
        for done in as_completed(asked):
            row = done.result()
            kept[row["title"]] = row
            print(json.dumps(row), flush=True)
            if arguments.keep:
                arguments.keep.write_text(json.dumps(kept, indent=1) + "\n")
    order = [fault.title for fault in (*GALLERY, *IN_VLLM)]
    text = table([kept[title] for title in order if title in kept])
    print(text)
    if arguments.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def _row(fault: Fault, how: Any, folder: Path) -> dict[str, Any]:
    """One fault, asked."""
    answer: Answer = how(fault, folder)
    reproducer = answer.reproducer
    return {
        "title": fault.title,
        "how": fault.how,
        "facts": dict(answer.facts),
        "wrong": answer.wrong,
        "missing": answer.missing,
        "trials": answer.plain.get("trials"),
        "seconds": round(answer.seconds),
        "shows": None if reproducer is None else shows_the_fault(reproducer),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| planted | asked with | named | trials | s | reproducer |", "|---|---|---|---|---|---|"]
    for row in rows:
        mark = " **wrong**" if row["wrong"] else " (not all)" if row["missing"] else ""
        shows = {None: "", True: "shows it", False: "**does not show it**"}[row["shows"]]
        cells = [
            row["title"],
            f"`{row['how']}`",
            _named(row["facts"]) + mark,
            row["trials"] or "",
            row["seconds"],
            shows,
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    found = sum(not row["wrong"] and not row["missing"] for row in rows)
    wrong = sum(bool(row["wrong"]) for row in rows)
    return "\n".join([*lines, "", f"{found} of {len(rows)} named in full, {wrong} wrongly."])


def _named(facts: Mapping[str, str]) -> str:
    """What was named, in a line."""
    left_out = {"restricts", "leaves"} if "break" in facts else {"part"} if "provider" in facts else set[str]()
    shown = [f"{name} {_short(facts[name])}" for name in SHOWN if name in facts and name not in left_out]
    if "outcome" in facts:
        return WORDS.get(facts["outcome"], facts["outcome"])
    return ", ".join(shown) or "nothing"


def _short(text: str) -> str:
    """Without folders."""
    return f"`{text.rpartition('/')[2]}`"


def _kept(path: Path | None) -> dict[str, Any]:
    """The rows of an earlier run, which those of this one are added to."""
    return json.loads(path.read_text()) if path is not None and path.exists() else {}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="FAULT", help="these alone, by the names of their programs")
    parser.add_argument("--vllm", action="store_true", help="those in the real vLLM, too: some minutes each")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="so many searches at a time")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the rows, and add to those that it holds")
    parser.add_argument("--write", action="store_true", help="put the table into docs/debugging.md")
    parser.add_argument("--quick", action="store_true", help="only what needs no search: the two `why shape`")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.only = [fault.name for fault in GALLERY if fault.how == "why shape"]
    return arguments


if __name__ == "__main__":
    main()
