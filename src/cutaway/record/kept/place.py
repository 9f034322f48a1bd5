"""Where a kept recording lies: beside the cache's entry that it is of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b, file_digest
from pathlib import Path

from cutaway import torch_internals
from cutaway.record.kept.file import SUFFIX

_FOLDER = "cutaway"  # in Inductor's cache, whose own folders are read whole


@dataclass(frozen=True)
class Place:
    """A kept recording's place.

    Attributes:
        path: of the file.
        name: the same for a person: relative to the cache.
        entry: the entry that it is of, a file; a recording is not used for another one. None when the place itself
            says it (it is named by the entry's key).
    """

    path: Path
    name: str
    entry: Path | None = None

    @classmethod
    def beside(cls, entry: Path, root: Path, name: str | None = None) -> Place:
        """Beside an entry of the cache below ``root``; called as the entry is, or ``name``."""
        path = entry.with_name(name or entry.name + SUFFIX)
        return cls(path, str(path.relative_to(root)) if path.is_relative_to(root) else path.name, entry)

    @classmethod
    def named_by(cls, key: Path, root: Path) -> Place:
        """Beside an entry of the cache below ``root`` whose name is the key of all that is in it."""
        return replace(cls.beside(key, root), entry=None)

    def digest(self) -> str | None:
        """Of the entry's content. Raises OSError when it cannot be read."""
        if self.entry is None:
            return None
        with self.entry.open("rb") as stream:
            return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()


def in_inductors_cache(key: str | None, backward: bool) -> Place | None:
    """For a graph that Inductor keeps by a key; None when it keeps nothing."""
    folder = torch_internals.inductor_cache_folder() if key else None
    if folder is None:
        return None
    phase = ".backward" if backward else ""  # AOTAutograd has one key for both
    path = folder / _FOLDER / f"{key}{phase}{SUFFIX}"
    return Place(path, str(path.relative_to(folder)))
