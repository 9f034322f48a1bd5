"""`cutaway edit`: change the code that was generated for a piece, and run the program with it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.options import RankName, RunName
from cutaway.cli.output import BAD_USE, printable
from cutaway.dump import Dump, load
from cutaway.errors import ExplainError, SelectorError, UsageError
from cutaway.explain.edit import Editable, Outcome, command_of, edit_folder, editable, open_editor, run_edited
from cutaway.explain.signature import refuse_other_signature, signature_of
from cutaway.explain.switches import Edit

Source = Annotated[str, typer.Argument(metavar="DUMP", help="The dump's folder.")]
Pieces = Annotated[
    list[str],
    typer.Argument(
        metavar="PIECE",
        help="Which pieces, each with its range, such as piece_02/range_1_16; after them, and two dashes, the program: "
        "-- python serve.py. Default: the program that was recorded.",
    ),
]
AsGraph = Annotated[
    bool, typer.Option("--graph", help="The piece's graph as Python, which then runs as it is written, not compiled.")
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="FILE", help="The edited file, one for each piece, instead of opening an editor."),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--keep", metavar="FOLDER", help="Where the edited files are kept, to go on with. Default: a new one."
    ),
]


def edit(
    path: Source,
    pieces: Pieces,
    graph: AsGraph = False,
    given: With = None,
    keep: Keep = None,
    run: RunName = None,
    rank: RankName = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say what ran as one line of JSON, on standard error.")
    ] = False,
) -> int:
    """Edit what Inductor generated for a piece in $EDITOR, and run the program with it.

    Works for vLLM, for cutaway.compile and for torch.compile. The edited code is swapped in for that piece and range
    alone. The program has copies of your caches, which are removed: yours stay as they are. Executes code of the dump.

    Exits with the program's own code, or with 2 when the edited code cannot be swapped in or never runs.
    """
    dump = load(path, run, rank)
    found, command = _apart(dump, pieces, graph)
    if not found:
        raise UsageError("no piece is named", "", "name one: `cutaway ls` lists them")
    program, environment = (command, {}) if command else command_of(dump)
    files = _files(found, given, keep)
    edits = [Edit(one.place, str(file), one.kind) for one, file in zip(found, files, strict=True)]
    sys.stderr.write(f"cutaway: running {printable(shlex.join(program))}\n")
    sys.stderr.flush()
    outcome = run_edited(edits, program, environment)
    if as_json:
        told = {"swapped": outcome.swapped, "refused": outcome.refused, "files": [str(file) for file in files]}
        sys.stderr.write(json.dumps({"exit_code": outcome.code, **told}) + "\n")
        return _code(outcome)
    return _tell(found, outcome)


def _code(outcome: Outcome) -> int:
    if outcome.refused:
        return BAD_USE
    return outcome.code if outcome.swapped else outcome.code or BAD_USE


def _apart(dump: Dump, names: Sequence[str], graph: bool) -> tuple[list[Editable], list[str]]:
    """Pieces, and the program after them: it begins at the first that names nothing in the dump."""
    found: list[Editable] = []
    for place, name in enumerate(names):
        try:
            found.append(editable(dump, name, graph))
        except SelectorError as error:
            if not found or error.candidates:
                raise
            return found, list(names[place:])
    return found, []


def _files(found: Sequence[Editable], given: Sequence[str] | None, keep: str | None) -> list[Path]:
    """The edited file of each, looked through before anything is run."""
    if given:
        if len(given) != len(found):
            raise UsageError(
                f"there are {len(found)} pieces and {len(given)} files", "", "give --with once for each piece"
            )
        files = [Path(one).absolute() for one in given]
    else:
        folder = edit_folder(keep).absolute()
        files = [folder / one.name for one in found]
        for one, file in zip(found, files, strict=True):
            if not file.exists():
                file.write_text(one.text)
        open_editor(files)
        sys.stderr.write(f"cutaway: the edited files are in {folder}\n")
    for one, file in zip(found, files, strict=True):
        _check(one, file)
    return files


def _check(one: Editable, file: Path) -> None:
    try:
        text = file.read_text()
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(file)!r} cannot be read", str(error)) from error
    if text == one.text:
        raise UsageError(f"{file.name} is what was generated", "nothing was changed, so nothing is run", "change it")
    try:
        now = signature_of(text)
    except SyntaxError as error:
        raise ExplainError(
            f"the edited file of {one.place} is no Python", f"line {error.lineno}: {error.msg}", f"correct {file}"
        ) from error
    refuse_other_signature(str(one.place), signature_of(one.text), now)


def _tell(found: Sequence[Editable], outcome: Outcome) -> int:
    for sentence in outcome.refused:
        sys.stderr.write(f"error: {printable(sentence)}\n")
    shown = {one.place.piece: one.shown for one in found}
    for place in outcome.swapped:
        sys.stderr.write(f"cutaway: {shown.get(place, place)}: the edited code ran\n")
    if not outcome.refused and not outcome.swapped:
        names = " and ".join(one.shown for one in found)
        sys.stderr.write(f"error: {names} never ran: no call had a size in this range, or it is another program\n")
    else:
        sys.stderr.write("cutaway: your caches are as they were\n")
    return _code(outcome)
