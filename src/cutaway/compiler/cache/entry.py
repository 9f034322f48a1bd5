"""One entry of the store: which files make up an artifact, and the ``.json`` that says so, which nobody trusts."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.compiler.cache import files
from cutaway.compiler.cache.files import CacheRefusedError

VERSION = 1
HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST = 1 << 26  # bytes of a .json


@dataclass(frozen=True)
class FileFacts:
    """One file of an entry."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Entry:
    """An artifact in the store; every file was checked when it was got.

    Attributes:
        key: the digest of its factors.
        form: ``binary`` or ``unpacked``.
        path: the ``.json`` that describes it.
        facts: what was noted with it (compiler, piece, seconds); not part of the key.
        files: what it is made of, by relative name.
        places: where each lies.
        edited: generated files that a person has changed.
    """

    key: str
    form: str
    path: Path
    facts: Mapping[str, Any]
    files: Mapping[str, FileFacts]
    places: Mapping[str, Path]
    edited: tuple[str, ...] = ()

    def read(self, name: str) -> bytes:
        """One file's content, checked again."""
        facts = self.files[name]
        if name in self.edited:
            return files.read_checked(self.places[name])
        return files.read_checked(self.places[name], facts.sha256, facts.size)

    @contextlib.contextmanager
    def folder(self, writable: bool = True) -> Generator[Path]:
        """A folder that holds the files under their names, for the time of the block.

        Args:
            writable: whether a compiler may write into an unpacked entry (what it builds of edited code); otherwise
                it gets a copy that lives as long as the process.
        """
        if self.form == "unpacked":
            yield self._unpacked() if writable else self._copy()
            return
        with tempfile.TemporaryDirectory(prefix="cutaway-") as name:
            for file, place in self.places.items():
                link = Path(name) / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(place.resolve())
            yield Path(name)

    def _unpacked(self) -> Path:
        return self.path.parents[3] / "unpacked" / self.key

    def _copy(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="cutaway-"))
        atexit.register(_remove_own, folder, os.getpid())
        for name in self.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(name))
        return folder


def facts_of(content: bytes) -> FileFacts:
    return FileFacts(hashlib.sha256(content).hexdigest(), len(content))


def entry_text(entry: Mapping[str, Any]) -> bytes:
    """An entry's ``.json``, with a digest of itself."""
    return json.dumps({**entry, "digest": _digest(entry)}, indent=1, sort_keys=True).encode()


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def read_object(path: Path) -> dict[str, Any] | None:
    """A file's JSON object, or None."""
    try:
        found = json.loads(files.read_checked(path, longest=_LONGEST))
        json.dumps(found)  # what is nested too deeply to be written is refused here
    except (CacheRefusedError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read_entry(path: Path, key: str, form: str) -> tuple[dict[str, Any], dict[str, FileFacts]]:
    """An entry's document and files, nothing of which is taken on trust."""
    files.read_checked(path, longest=_LONGEST)
    document = read_object(path)
    if document is None:
        raise CacheRefusedError(path, "it is no JSON object")
    if document.pop("digest", None) != _digest(document):
        raise CacheRefusedError(path, "its content has changed: the digest is another")
    expected = {"store": VERSION, "key": key, "form": form}
    wrong = [name for name, value in expected.items() if document.get(name) != value]
    if wrong:
        raise CacheRefusedError(path, f"it is of another {wrong[0]} ({document.get(wrong[0])!r})")
    listed = document.get("files")
    if not isinstance(listed, dict) or not isinstance(document.get("facts"), dict):
        raise CacheRefusedError(path, "it lacks what an entry has")
    _file_facts(path, "its factors", document.get("factors"))
    return document, {name: _file_facts(path, name, facts) for name, facts in listed.items()}


def _file_facts(path: Path, name: str, facts: Any) -> FileFacts:
    if not files.is_safe_name(name):
        raise CacheRefusedError(path, f"it names {name!r}, which lies outside of it")
    if not isinstance(facts, dict) or not isinstance(facts.get("size"), int):
        raise CacheRefusedError(path, f"it does not say what {name!r} is")
    if not isinstance(facts.get("sha256"), str) or not HEX.fullmatch(facts["sha256"]):
        raise CacheRefusedError(path, f"it gives no digest of {name!r}")
    return FileFacts(facts["sha256"], facts["size"])


def _remove_own(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked off
        shutil.rmtree(folder, ignore_errors=True)
