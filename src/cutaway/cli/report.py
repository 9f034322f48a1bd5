"""`cutaway report`: one offline HTML file, to attach to a bug report."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.options import Against, AsJson, DumpPath, RankName, RunName
from cutaway.cli.output import printable, write_json
from cutaway.errors import UsageError
from cutaway.web.report import Report, make_report

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="SELECTOR", help="Only what this names, such as a piece; may be given again."),
]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact", help="Hide paths, names of users, hosts and models, the configuration and the command line."
    ),
]
Hide = Annotated[
    list[str] | None,
    typer.Option("--hide", metavar="NAME", help="Hide this name, too, wherever it stands; may be given again."),
]
MaxSize = Annotated[
    str, typer.Option("--max-size", metavar="SIZE", help="The largest file: what matters least is left out.")
]
Plain = Annotated[
    Path | None,
    typer.Option("--plain", metavar="FILE", help="Also write what is in it as text, a resource a line, to search."),
]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMG]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}


def report(
    path: DumpPath,
    output: Output = Path("report.html"),
    only: Only = None,
    redact: Redact = False,
    hide: Hide = None,
    max_size: MaxSize = "20MB",
    plain: Plain = None,
    run: RunName = None,
    rank: RankName = None,
    against: Against = None,
    as_json: AsJson = False,
) -> int:
    """Write the web page and its data into one file that opens without a server.

    It holds one run: all of its processes that differ; with --against that of another dump, too, and how they differ.
    What does not fit is left out, and the page says so.
    """
    made = make_report(
        path,
        run=run,
        rank=rank,
        against=against,
        only=only or (),
        redact=redact,
        hide=hide or (),
        max_bytes=_bytes(max_size),
    )
    _write(output, made.html)
    if plain is not None:
        _write(plain, made.plain().encode())
    if as_json:
        write_json(
            {
                "file": str(output),
                "bytes": len(made.html),
                "resources": made.resources,
                "left_out": made.left_out,
                "hidden": made.hidden,
            }
        )
    else:
        sys.stdout.write(printable(_words(output, plain, made)))
    return 0


def _words(output: Path, plain: Path | None, made: Report) -> str:
    lines = [f"{output}: {len(made.html) / 1e6:.1f} MB"]
    lines += [f"left out: {each.what}: {each.why}" for each in made.left_out]
    if made.redacted:
        lines.append(f"hidden wherever they stood: {', '.join(['paths', *made.hidden])}")
        how = f"search {plain}" if plain is not None else "write it as text as well (--plain FILE), and search that"
        lines.append(f"Lines of the model's Python are in it, and names of its classes. Before you send it, {how}.")
    return "\n".join(lines) + "\n"


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--max-size {text!r} is no size", "", "give bytes, or 500kB, 20MB, 1GB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _write(output: Path, content: bytes) -> None:
    """The whole file, or the one that was there before."""
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(output)
    except OSError as error:
        beside.unlink(missing_ok=True)
        what = f"{str(output)!r} cannot be written"
        raise UsageError(what, error.strerror or str(error), "name another file") from error
