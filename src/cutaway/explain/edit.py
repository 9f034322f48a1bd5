"""Runs a program with code of a piece that somebody has edited, and leaves its caches as they were."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.dump import Dump
from cutaway.dump.select import choose
from cutaway.errors import ExplainError, UsageError
from cutaway.explain.switches import INSIDE, Edit, Place, Switches
from cutaway.explain.trial import caches
from cutaway.explain.trial.environment import variables_of
from cutaway.explain.trial.setting import Setting
from cutaway.explain.within.journal import read_journal

MASK = "***"
"""What stands in a dump for a secret (`cutaway.record.environment`)."""

_NOT_THEIRS = ("CUTAWAY", "VLLM_DEBUG_DUMP_PATH", "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@dataclass(frozen=True)
class Editable:
    """Code of a dump that can be edited.

    Attributes:
        selector: what the dump calls it.
        place: the piece in a range, as the hands in the process know it.
        kind: ``code`` or ``graph``.
        text: what it is.
        name: of the file that it becomes.
    """

    selector: str
    place: Place
    kind: str
    text: str
    name: str

    @property
    def shown(self) -> str:
        """The piece in its range; of a graph that is not split, the compilation that a user knows, too."""
        compilation = self.selector.split("/")[0]
        is_whole = self.place.piece not in self.selector
        return f"{compilation} ({self.place})" if is_whole and compilation != self.place.piece else str(self.place)


@dataclass(frozen=True)
class Outcome:
    """How a run with edited code ended.

    Attributes:
        code: the program's exit code.
        swapped: pieces in ranges whose edited code ran, such as ``piece_02 for 1_16``.
        refused: why edited code was not swapped in, one sentence each.
    """

    code: int
    swapped: tuple[str, ...]
    refused: tuple[str, ...]


def editable(dump: Dump, wanted: str, graph: bool) -> Editable:
    """The output code of a piece in a range, or with ``graph`` the piece's graph before anything was done to it.

    Raises:
        SelectorError: it names nothing, or more than one thing.
        DumpError: the dump lacks the text.
    """
    if graph:
        pieces = {each.selector: each for each in dump.snapshots.values() if each.stage == "piece"}
        whole = {each.selector: each for each in dump.snapshots.values() if each.stage == "captured"}
        found = (pieces or whole)[choose(wanted, list(pieces or whole))]
        place = Place(found.piece or _graph_of(dump, found.selector))
        return Editable(found.selector, place, "graph", found.raw, _file(found.selector, found.owner.selector, "graph"))
    codes = {each.selector: each for each in dump.codes.values() if each.kind == "output_code"}
    code = codes[choose(wanted, list(codes))]
    place = Place(code.piece, code.range or "*") if code.piece else Place(_graph_of(dump, code.selector))
    return Editable(code.selector, place, "code", code.text, _file(code.selector, code.digest, "code"))


def _graph_of(dump: Dump, selector: str) -> str:
    """In plain ``torch.compile`` each captured graph is a piece, by the order in which they are compiled.

    A model that is split has pieces of its own, whoever compiles it, and is not among them.
    """
    names = [compilation.name for compilation in dump if not compilation.pieces]
    name = selector.split("/")[0]
    if name not in names:
        raise ExplainError(f"{selector} is not of one piece", "the graph is split", "name a piece of it")
    return f"graph_{names.index(name):02d}"


def _file(selector: str, identity: str, kind: str) -> str:
    return f"{selector.replace('/', '.')}.{kind}.{identity[:8] if '/' not in identity else 'raw'}.py"


def command_of(dump: Dump) -> tuple[list[str], dict[str, str]]:
    """The recorded program's command line, and those of its variables that shape a compile.

    Raises:
        ExplainError: it cannot be run again from what was recorded.
    """
    context = dump.context
    command = [str(part) for part in context.get("command_line") or ()]
    cure = "give the program after two dashes: cutaway edit DUMP PIECE -- python serve.py"
    if len(command) < 2:
        raise ExplainError("the dump does not say which program it is of", "", cure)
    if command[1] in ("-c", "-m", "-"):
        raise ExplainError(f"{shlex.join(command[:3])} cannot be run again", "only its command line was recorded", cure)
    if any(MASK in part for part in command):
        raise ExplainError("the recorded command line had a secret in it", "it was not recorded", cure)
    if not Path(command[1]).exists():
        raise ExplainError(
            f"{command[1]!r} is not there", "the dump says that it was run", f"go to its folder, or {cure}"
        )
    recorded: Mapping[str, Any] = context.get("environment") or {}
    wanted = {
        name: str(value)
        for name, value in recorded.items()
        if not name.startswith(_NOT_THEIRS) and name not in os.environ and MASK not in str(value)
    }
    if "CUTAWAY_DEMO_PLATFORM" in recorded:
        wanted["CUTAWAY_DEMO_PLATFORM"] = str(recorded["CUTAWAY_DEMO_PLATFORM"])
    return command, wanted


def open_editor(files: Sequence[Path]) -> None:
    """Open files in ``$VISUAL`` or ``$EDITOR``, and wait until it is closed.

    Raises:
        UsageError: neither is set, or it cannot be run.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("there is no editor", "neither VISUAL nor EDITOR is set", "set EDITOR, or give --with FILE")
    try:
        done = subprocess.run([*shlex.split(editor), *map(str, files)], check=False)
    except OSError as error:
        raise UsageError(f"the editor {editor!r} cannot be run", error.strerror or str(error), "set EDITOR") from error
    if done.returncode:
        raise UsageError(f"the editor {editor!r} ended with {done.returncode}", "nothing was run")


def run_edited(edits: Sequence[Edit], command: Sequence[str], environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a program with edited code swapped in; its input and output are this process's.

    Its caches are copies of the user's in a folder of their own, which is removed.

    Args:
        edits: what to swap in.
        command: the program and its arguments.
        environment: further variables.

    Raises:
        ExplainError, IsolateError: it cannot be run; the disk is full.
    """
    given = {**os.environ, **(environment or {})}
    folder = caches.temporary(given)
    try:
        setting = Setting(switches=Switches(edits=tuple(edits)))
        variables, _ = variables_of(setting, folder, folder / "caches", given)
        caches.share_classes(folder / "classes", given, variables)
        variables["TMPDIR"] = str(folder)
        try:
            code = subprocess.run(list(command), env=variables, check=False).returncode
        except OSError as error:
            raise ExplainError(f"{command[0]!r} cannot be run", error.strerror or str(error)) from error
        told = [line for line in read_journal(folder / INSIDE) if line["event"] == "edit"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    places = [f"{line['piece']} for {line['range']}" if line.get("range") else str(line["piece"]) for line in told]
    swapped = dict.fromkeys(place for place, line in zip(places, told, strict=True) if not line.get("refused"))
    refused = dict.fromkeys(str(line["refused"]) for line in told if line.get("refused"))
    return Outcome(code if code >= 0 else 128 - code, tuple(swapped), tuple(refused))


def edit_folder(folder: str | None) -> Path:
    """Where edited files are kept; a temporary folder that stays when none is named."""
    path = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="cutaway-edit-"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"nothing can be written to {str(path)!r}", error.strerror or str(error)) from error
    return path
