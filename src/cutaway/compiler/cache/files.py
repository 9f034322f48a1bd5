"""Files as a store needs them: written aside and put in place whole, read with their digest checked, never a link."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath

_OLD = 24 * 3600.0  # seconds: no write takes that long
_LONGEST_NAME = 1024


class CacheRefusedError(Exception):
    """What lies in the cache is not what was put there; never leaves the cache.

    Args:
        path: the file.
        why: what is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


def is_safe_name(name: object) -> bool:
    """Whether a name out of an untrusted file stays below the folder that it is joined to."""
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or "\\" in name or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return "/".join(parts) == name and ".." not in parts and "." not in parts and not name.startswith("/")


def read_checked(path: Path, digest: str | None = None, size: int | None = None, longest: int | None = None) -> bytes:
    """A regular file's content, which has this size and digest.

    Raises:
        CacheRefusedError: it is missing, a link, cannot be read, or is another.
    """
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise CacheRefusedError(path, "it is no regular file")
        if longest is not None and facts.st_size > longest:
            raise CacheRefusedError(path, f"it has {facts.st_size} bytes, far more than such a file has")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CacheRefusedError(path, "it is missing") from error
    except OSError as error:
        raise CacheRefusedError(path, f"it cannot be read ({error.strerror})") from error
    if size is not None and len(content) != size:
        raise CacheRefusedError(path, f"it has {len(content)} bytes and should have {size}")
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise CacheRefusedError(path, "its content has changed: the digest is another")
    return content


def write_whole(path: Path, content: bytes, aside: Path) -> None:
    """Write a file so that it is there whole or not at all, whatever happens in between.

    Args:
        path: where to; an older file is replaced.
        content: what.
        aside: a folder in the same file system, for the time being.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside / _temporary_name()
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_folder(path: Path, files: dict[str, bytes], aside: Path) -> None:
    """Write a folder so that it is there whole or not at all. An older one goes away first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside / _temporary_name()
    try:
        for name, content in files.items():
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        move_away(path, aside)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(path.parent)


def move_away(path: Path, aside: Path) -> None:
    """Remove a folder at once: it is moved, then taken apart."""
    doomed = aside / _temporary_name()
    with contextlib.suppress(FileNotFoundError):
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def folder_aside(aside: Path) -> Generator[Path]:
    """An empty folder for the time of the block."""
    folder = aside / _temporary_name()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def regular_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every regular file below a folder: (relative name with slashes, path), in order of the names."""
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink() and path.is_file():
            yield path.relative_to(folder).as_posix(), path


def remove_old(aside: Path) -> None:
    """Remove what processes that were killed in the middle of a write left behind."""
    for path in aside.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _OLD:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _temporary_name() -> str:
    return f"{os.getpid()}-{uuid.uuid4().hex}"


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a loss of power, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
