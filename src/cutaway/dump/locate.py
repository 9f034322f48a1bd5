"""Where in a dump to read: which run, which process.

    <root>/run_001/rank_0_dp_0/manifest.jsonl

A dump may be named by its root, by one of its runs or by one of its processes.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cutaway.errors import DumpError, SelectorError, UsageError

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Location:
    """One process of one run, and what else there is to choose from.

    Attributes:
        folder: the process folder.
        run: the name of the run's folder.
        process: the name of the process folder.
        runs: all runs of the dump, oldest first; just this one when a run or a process was named.
        processes: all processes of the run, by rank; just this one when a process was named.
    """

    folder: Path
    run: str
    process: str
    runs: tuple[str, ...]
    processes: tuple[str, ...]


def locate(path: str | os.PathLike[str], run: str | None = None, rank: str | None = None) -> Location:
    """Find the process folder that is meant.

    Args:
        path: a dump's root, a run's folder or a process folder.
        run: the name of a run; None for the newest.
        rank: the name of a process folder, such as `rank_1_dp_0`; None for the first.

    Raises:
        DumpError: there is no dump at `path`.
        SelectorError: there is one, but not that run or that process.
        UsageError: `path` names a single run or process already, and another one was asked for.
    """
    named = Path(path)
    _check_exists(named)
    if (named / MANIFEST).exists():
        _check_unasked(named, "process", rank, run)
        real = named.resolve()
        return Location(named, real.parent.name, real.name, (real.parent.name,), (real.name,))
    runs = _runs_in(named)
    if not runs and _processes_in(named):
        _check_unasked(named, "run", None, run)
        runs, folder = (named.resolve().name,), named
        chosen_run = runs[0]
    elif not runs:
        raise DumpError(
            f"{str(named)!r} is not a dump",
            f"no {MANIFEST} lies in it, nor one or two folders down",
            "give the path that was recorded to (CUTAWAY_DUMP, VLLM_DEBUG_DUMP_PATH or record(path))",
        )
    else:
        chosen_run = _choose("run", run, runs, runs[-1])
        folder = named / chosen_run
    processes = _processes_in(folder)
    process = _choose("process", rank, processes, processes[0])
    _check_inside(folder / process, named)
    return Location(folder / process, chosen_run, process, runs, processes)


def _check_exists(path: Path) -> None:
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # too long a name, or a folder that may not be entered
        raise DumpError(
            f"{str(path)[:200]!r} cannot be opened", error.strerror or str(error), "check the path"
        ) from error
    if is_folder:
        return
    if is_there:
        raise DumpError(f"{str(path)!r} is a file", "a dump is a folder", "give the folder that it lies in")
    near = get_close_matches(path.name, _names(path.parent), 1)
    cure = f"did you mean {str(path.with_name(near[0]))!r}?" if near else "check the path"
    raise DumpError(f"no dump at {str(path)!r}", "the folder does not exist", cure.rstrip("?"))


def _check_unasked(path: Path, what: str, rank: str | None, run: str | None) -> None:
    name = path.resolve().name
    if rank not in (None, name) or (run is not None and run not in (name, path.resolve().parent.name)):
        raise UsageError(
            f"{str(path)!r} is a single {what}",
            "another one can be chosen only from the folder above",
            "give the dump's root, or leave the choice out",
        )


def _check_inside(folder: Path, root: Path) -> None:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DumpError(
            f"{str(folder)!r} leads out of the dump",
            "it is a symbolic link",
            "replace it with a copy of what it names",
        )


def _choose(what: str, wanted: str | None, names: tuple[str, ...], default: str) -> str:
    if wanted is None:
        return default
    if wanted in names:
        return wanted
    near = tuple(get_close_matches(wanted, names, 3)) or names
    raise SelectorError(
        f"no {what} {wanted!r} in this dump",
        f"there are {', '.join(names)}",
        "give one of them",
        candidates=near,
    )


def _runs_in(root: Path) -> tuple[str, ...]:
    return tuple(name for name in _names(root) if _processes_in(root / name))


def _processes_in(run: Path) -> tuple[str, ...]:
    return tuple(name for name in _names(run) if (run / name / MANIFEST).exists())


def _names(folder: Path) -> list[str]:
    """The folders in a folder, with numbers in their names counted as numbers."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []
    return sorted(names, key=lambda name: [int(part) if part.isdecimal() else part for part in _split(name)])


def _split(name: str) -> list[str]:
    return re.split(r"(\d+)", name)
