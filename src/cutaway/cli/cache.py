"""`cutaway cache`: what lies in the caches of compiled code, what of it is damaged, and what may go."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutaway.cli.help import Command
from cutaway.cli.options import AsJson
from cutaway.cli.output import FINDING, Styled, aligned, write_json, write_lines
from cutaway.errors import UsageError
from cutaway.explain.cache.folders import Folder, folder_at, open_folder
from cutaway.explain.cache.inspect import Held, check_vllm, entries_of_vllm
from cutaway.explain.cache.of_inductor import Lot, check_inductor, default_folder, lots_of
from cutaway.record.layers.words import short_bytes
from cutaway.record.limits import parse_bytes

if TYPE_CHECKING:
    from cutaway.compiler.cache.sweep import Stored, Swept

cache = typer.Typer(
    help="What lies in a cache of compiled code, what of it is damaged, and what may go.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CacheFolder = Annotated[
    str | None,
    typer.Argument(
        metavar="FOLDER",
        help="A cache of Cutaway, vLLM's VLLM_CACHE_ROOT, or Inductor's TORCHINDUCTOR_CACHE_DIR. "
        "Default: where Cutaway keeps what it compiles.",
    ),
]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Entries made before that: 30d, 12h, 90m.")
]
LargerThan = Annotated[
    str | None,
    typer.Option("--larger-than", metavar="SIZE", help="The oldest entries, until no more than that is left: 10GB."),
]
Unreferenced = Annotated[
    bool, typer.Option("--unreferenced", help="Pieces that no model in the cache is put together from.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")]

_WORDS = {
    "cutaway": ("cache of Cutaway", "entry", "entries"),
    "vllm": ("vLLM's cache", "entry", "entries"),
    "inductor": ("torch's cache", "kind", "kinds"),
}
_OTHERS = {
    "vllm": ("vLLM's", "remove a key's folder by hand while no vLLM runs"),
    "inductor": ("torch's", "remove it, or what of it you like, while no program uses it: torch compiles anew"),
}
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


@cache.command("ls", cls=Command)
def ls(path: CacheFolder = None, as_json: AsJson = False) -> int:
    """List what is in a cache: of which model or piece, how old, how large.

    Without FOLDER, what torch itself keeps stands below: how many compiled graphs and kernels, how old, how large.
    """
    folders = [_folder(path)] if path is not None else _both()
    listed = [(folder, *_listed(folder)) for folder in folders]
    if as_json:
        first, *more = ({"cache": one.kind, "folder": str(one.root), "entries": shapes} for one, _, shapes in listed)
        write_json({**first, **{one["cache"]: one for one in more}})
        return 0
    for folder, rows, shapes in listed:
        write_lines(_table(folder, rows, sum(one["bytes"] for one in shapes)))
    return 0


def _both() -> list[Folder]:
    """Cutaway's cache, and Inductor's, where there is one of them at least."""
    inductor = default_folder(os.environ)
    found = [folder_at(_default()), Folder("inductor", inductor) if inductor.is_dir() else None]
    return [folder for folder in found if folder is not None] or [_folder(None)]


def _listed(folder: Folder) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The entries of a cache, as rows and as JSON."""
    if folder.kind == "inductor":
        lots = lots_of(folder.root)
        return [_lot_row(one) for one in lots], [asdict(one) for one in lots]
    if folder.kind == "vllm":
        held = entries_of_vllm(folder)
        return [_vllm_row(one) for one in held], [asdict(one) for one in held]
    found = _ours().stored(_store(folder))
    return [_own_row(one) for one in found], [_shape(one) for one in found]


@cache.command("verify", cls=Command)
def verify(path: CacheFolder = None, as_json: AsJson = False) -> int:
    """Check a cache: is every file what was put there, and does each entry lie under the key that its factors make?

    Exits 1 when something is wrong. A damaged entry of Cutaway's cache does no harm: it is compiled anew.
    """
    folder = _folder(path)
    found = list(_checked(folder))
    if as_json:
        problems = [{"key": key, "why": why} for key, why in found]
        write_json({"cache": folder.kind, "folder": str(folder.root), "ok": not found, "problems": problems})
    elif not found:
        write_lines([[("whole: ", "green"), (f"nothing in {folder.root} is damaged", "")]])
    else:
        write_lines([(f"{key[:10]}  ", "bold"), (why, "red")] for key, why in found)
    return FINDING if found else 0


@cache.command("prune", cls=Command)
def prune(
    path: CacheFolder = None,
    older_than: OlderThan = None,
    larger_than: LargerThan = None,
    unreferenced: Unreferenced = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Remove entries of Cutaway's cache, by age, size, or because no model needs them; and content that none names.

    Safe beside programs that use the cache: what somebody is at is left alone, and what a program misses is compiled.
    """
    folder = _folder(path)
    if folder.kind in _OTHERS:
        whose, cure = _OTHERS[folder.kind]
        raise UsageError(f"{str(folder.root)!r} is {whose}", "it is only read here", cure)
    ours = _ours()
    wish = ours.Wish(
        None if older_than is None else _seconds(older_than),
        None if larger_than is None else parse_bytes(larger_than, "--larger-than"),
        unreferenced,
    )
    done = ours.sweep(_store(folder, read_only=dry_run), wish, dry_run)
    if as_json:
        write_json(_swept_json(done, dry_run))
    else:
        write_lines(_swept_lines(done, dry_run))
    return 0


def _folder(path: str | None) -> Folder:
    return open_folder(Path(path) if path else _default())


def _default() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CUTAWAY_CACHE_ROOT") or Path(home) / "cutaway")


def _checked(folder: Folder) -> Iterator[tuple[str, str]]:
    if folder.kind == "inductor":
        return check_inductor(folder.root)
    return check_vllm(folder) if folder.kind == "vllm" else _ours().check(_store(folder))


def _ours() -> Any:
    """The store is the compiler's, which imports torch: only where it is asked."""
    return import_module("cutaway.compiler.cache.sweep")


def _store(folder: Folder, read_only: bool = True) -> Any:
    return import_module("cutaway.compiler.cache.store").Store(folder.root, read_only)


def _seconds(age: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([dhms])", age.strip())
    if match is None:
        raise UsageError(
            f"--older-than is {age!r}", "an age is a number and a unit", "write it as 30d, 12h, 90m or 10s"
        )
    return float(match[1]) * _UNITS[match[2]]


def _shape(one: Stored) -> dict[str, Any]:
    return {**asdict(one), "needs": None if one.needs is None else sorted(one.needs), "content": sorted(one.content)}


def _table(folder: Folder, rows: list[list[str]], size: int) -> Iterator[list[Styled]]:
    what, one, many = _WORDS[folder.kind]
    count = f"{len(rows)} {one if len(rows) == 1 else many}"
    yield [(str(folder.root), "bold"), (f": {what}, {count}, {short_bytes(size)}", "")]
    for row in aligned(rows, right=(3,)):
        yield [("  " + "  ".join(row).rstrip(), "")]


def _own_row(one: Stored) -> list[str]:
    recorded = ", recorded" if one.recorded else ""
    return [
        one.key[:10],
        one.kind,
        one.of or "?",
        short_bytes(one.bytes),
        _when(one.made),
        "+".join(one.forms) + recorded,
    ]


def _vllm_row(one: Held) -> list[str]:
    of = one.model or "(not recorded)"
    return [one.key[:10], one.kind, of, short_bytes(one.bytes), _when(one.made), " ".join(one.ranks)]


def _lot_row(one: Lot) -> list[str]:
    return [one.kind, str(one.count), one.what, short_bytes(one.bytes), f"{_when(one.oldest)} to {_when(one.newest)}"]


def _when(made: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(made))


def _swept_json(done: Swept, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "removed": [_shape(one) for one in done.removed],
        "held": [one.key for one in done.held],
        "objects": done.objects,
        "bytes": done.bytes,
    }


def _swept_lines(done: Swept, dry_run: bool) -> Iterator[list[Styled]]:
    for row in aligned([_own_row(one) for one in done.removed], right=(3,)):
        yield [("  " + "  ".join(row).rstrip(), "")]
    for one in done.held:
        yield [(f"  {one.key[:10]} was left alone: a process is at it", "yellow")]
    verb = "would go" if dry_run else "removed"
    count = f"{len(done.removed)} entr{'y' if len(done.removed) == 1 else 'ies'}"
    yield [(f"{count} and {done.objects} files of content {verb}, {short_bytes(done.bytes)}", "bold")]
