"""Folders for caches: each trial has its own, and those of the user are only read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from cutaway.errors import IsolateError
from cutaway.explain.cache.of_inductor import VARIABLE, default_folder, folder_name

HEADERS = "precompiled_headers"

_PREFIX = "cutaway-try-"

_CLASSES = "modelinfos"

MOST = 8 << 30
"""Bytes of a cache that are copied; a larger one is left out, and that is said."""


@dataclass(frozen=True)
class Place:
    """Where a cache lies.

    Attributes:
        variable: the environment variable that says so.
        folder: name of the trial's own folder for it.
        path: where the user's is.
        parts: what of it takes part in a compile, relative to it; empty for all.
        without: what is left out, as globs.
    """

    variable: str
    folder: str
    path: Path
    parts: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What was prepared for a trial.

    Attributes:
        variables: for its environment.
        left_out: caches of the user that were not copied, and why, one sentence each.
    """

    variables: Mapping[str, str]
    left_out: tuple[str, ...] = ()


def places(environment: Mapping[str, str]) -> list[Place]:
    """The caches that torch, vLLM and Cutaway would use with these variables."""
    home = _home(environment)
    return [
        Place(
            "VLLM_CACHE_ROOT",
            "vllm",
            _folder(environment, "VLLM_CACHE_ROOT", home / "vllm"),
            ("torch_compile_cache", "torch_aot_compile"),
        ),
        Place(
            VARIABLE,
            "inductor",
            default_folder(environment),
            without=(HEADERS, "locks", "tmp*"),
        ),
        Place("CUTAWAY_CACHE_ROOT", "cutaway", _folder(environment, "CUTAWAY_CACHE_ROOT", home / "cutaway")),
    ]


def prepare(folder: Path, environment: Mapping[str, str], copied: bool) -> Prepared:
    """Make the caches of a trial.

    Args:
        folder: they are made in it, where they are not there yet.
        environment: the user's, which says where theirs are.
        copied: they begin as a copy of the user's; else empty.

    Raises:
        IsolateError: the disk is full.
    """
    variables: dict[str, str] = {}
    left_out: list[str] = []
    for place in places(environment):
        own = folder / place.folder
        try:
            is_new = not own.exists()
            own.mkdir(parents=True, exist_ok=True)
            if copied and is_new and place.path.is_dir() and (why := _copy(place, own)):
                left_out.append(why)
        except OSError as error:
            raise IsolateError(
                f"no caches can be made in {str(folder)!r}",
                error.strerror or str(error),
                "make room, or give another folder with --output",
            ) from error
        variables[place.variable] = str(own)
    # Triton asks its own variable first.
    if "TRITON_CACHE_DIR" in environment:
        variables["TRITON_CACHE_DIR"] = str(folder / "triton")
    return Prepared(variables, tuple(left_out))


def share_classes(shared: Path, environment: Mapping[str, str], variables: Mapping[str, str]) -> None:
    """Give a trial what vLLM knows of models' classes: to find out, it imports everything in a process of its own.

    It is known by the digest of a class's source, and no compile depends on it: all trials may write to one folder, and
    begin with what the user's has.

    Args:
        shared: that folder; made where it is not there yet.
        environment: the user's variables.
        variables: the trial's, whose caches are there.
    """
    theirs = _folder(environment, "VLLM_CACHE_ROOT", _home(environment) / "vllm") / _CLASSES
    own = Path(variables["VLLM_CACHE_ROOT"], _CLASSES)
    with suppress(OSError):  # it is found out again
        if not shared.exists():
            shutil.copytree(theirs, shared) if theirs.is_dir() else shared.mkdir(parents=True)
        if not own.is_symlink():
            own.symlink_to(shared.absolute())


def temporary(environment: Mapping[str, str]) -> Path:
    """A folder for temporary files of all trials of one search.

    Inductor keeps precompiled headers beside temporary files, whatever its cache's folder is; those of the user are
    linked, and new ones are left here. The path is short: sockets are made in it.

    Raises:
        IsolateError: it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise IsolateError(
            "no folder for temporary files can be made", error.strerror or str(error), "make room, or set TMPDIR"
        ) from error
    name = folder_name()
    theirs, ours = Path(environment.get("TMPDIR", tempfile.gettempdir())) / name / HEADERS, folder / name / HEADERS
    if theirs.is_dir():
        ours.mkdir(parents=True)
        for one in theirs.iterdir():
            (ours / one.name).symlink_to(one)
    return folder


def drop(temporary: Path) -> None:
    """Remove what `temporary` has made, and nothing else."""
    if temporary.name.startswith(_PREFIX):
        shutil.rmtree(temporary, ignore_errors=True)


def _folder(environment: Mapping[str, str], variable: str, otherwise: Path) -> Path:
    return Path(environment[variable]).expanduser() if environment.get(variable) else otherwise


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _copy(place: Place, own: Path) -> str | None:
    """Copy a cache, links as links; why not, if not."""
    parts = [place.path / part for part in place.parts if (place.path / part).is_dir()] if place.parts else [place.path]
    size = sum(_size(part, place.without) for part in parts)
    if size > min(MOST, shutil.disk_usage(own).free // 2):
        return f"the cache {place.path} holds {size / 1e9:.1f} GB, and was not copied: what is stale in it is not seen"
    for part in parts:
        shutil.copytree(
            part,
            own / part.relative_to(place.path),
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(*place.without),
        )
    return None


def _size(folder: Path, without: tuple[str, ...]) -> int:
    total = 0
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not any(fnmatch(name, glob) for glob in without)]
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except OSError:
                continue
    return total
