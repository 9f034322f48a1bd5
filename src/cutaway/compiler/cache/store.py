"""The folder of artifacts: addressed by content, with nothing absolute in it, checked whenever it is read.

    <root>/v1/
      entries/<aa>/<key>/
        cache_key_factors.json   the document whose digest is the key
        binary.json              an entry: which files make up the artifact, each with size and SHA-256
        unpacked.json            the same artifact in its other form
        binary.recorded.zip      what was recorded while it was made (cutaway.record.kept); not read by the store
      objects/<aa>/<sha256>      content of files of binary entries; equal files lie there once
      unpacked/<key>/...         files of unpacked entries as they are: their ``.py`` may be edited
      locks/<key>.lock           held while somebody makes what belongs to the key
      tmp/                       what is being written; leftovers of killed processes go after a day

The folder can be moved, baked into an image, shared by processes and mounted read-only. An entry's ``.json`` is
written last, by a rename: what is not named by one does not exist. Files are parsed or compared, never evaluated, so
that a damaged or hostile folder leads to a compile. Whoever may *write* to it still decides what code is run, because
artifacts are code: give it the permissions of the program itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cutaway.compiler.cache import files
from cutaway.compiler.cache.entry import HEX, VERSION, Entry, FileFacts, entry_text, facts_of, read_entry, read_object
from cutaway.compiler.cache.files import CacheRefusedError
from cutaway.record.kept.file import SUFFIX
from cutaway.record.kept.place import Place

__all__ = ["FACTORS", "CacheRefusedError", "Entry", "Store"]

FACTORS = "cache_key_factors.json"
_FORM = re.compile(r"[a-z]+")
_KEPT = ".edited"  # what a person wrote into a generated file that had to be made anew


class Store:
    """Artifacts by key. Nothing is touched until it is used.

    Args:
        root: the folder; made when first written to.
        read_only: never write, and take no locks.

    Attributes:
        base: the folder of this version of the store.
    """

    def __init__(self, root: Path, read_only: bool = False) -> None:
        self.root = Path(root)
        self.read_only = read_only
        self.base = self.root / f"v{VERSION}"
        self._aside = self.base / "tmp"
        self._ready = False

    # -- read ---------------------------------------------------------------------------------------------

    def get(self, key: str, form: str = "binary") -> Entry | None:
        """An entry, every file of which was found to be what was put there; None when there is none.

        Raises:
            CacheRefusedError: there is one, and it is damaged; the message names the file.
        """
        if not HEX.fullmatch(key):
            return None
        path = self._document(key, form)
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CacheRefusedError(path, f"it cannot be read ({error.strerror})") from error
        document, listed = read_entry(path, key, form)
        digest, size = document["factors"]["sha256"], document["factors"]["size"]
        files.read_checked(path.with_name(FACTORS), digest, size)
        edited: list[str] = []
        places: dict[str, Path] = {}
        for name, facts in listed.items():
            places[name] = self._place(key, form, name, facts)
            if not self._check(places[name], facts, editable=form == "unpacked" and name.endswith(".py")):
                edited.append(name)
        return Entry(key, form, path, document["facts"], listed, places, tuple(edited))

    def recording(self, key: str, form: str = "binary") -> Place:
        """Where a recording of how an entry was made is kept. It is not the store's, which never looks at it."""
        return Place.beside(self._document(key, form), self.root, f"{form}{SUFFIX}")

    def factors(self, key: str) -> dict[str, Any] | None:
        """The document whose digest is a key; None when there is none that can be read."""
        return read_object(self._entry(key) / FACTORS) if HEX.fullmatch(key) else None

    def documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every key with its document, the newest first: what a miss is compared with."""
        with contextlib.suppress(OSError):
            found = [(path.stat().st_mtime, path) for path in (self.base / "entries").glob(f"*/*/{FACTORS}")]
            for _, path in sorted(found, reverse=True):
                document = read_object(path)
                if document is not None and HEX.fullmatch(path.parent.name):
                    yield path.parent.name, document

    def _check(self, path: Path, facts: FileFacts, editable: bool) -> bool:
        """Whether a file is as it was put there. One that a person may edit may differ, but not be emptied."""
        if not editable:
            files.read_checked(path, facts.sha256, facts.size)
            return True
        content = files.read_checked(path)
        if facts_of(content) == facts:
            return True
        if not content.strip():
            raise CacheRefusedError(path, "it is empty")
        return False

    def _entry(self, key: str) -> Path:
        return self.base / "entries" / key[:2] / key

    def _document(self, key: str, form: str) -> Path:
        return self._entry(key) / f"{form}.json"

    def _place(self, key: str, form: str, name: str, facts: FileFacts) -> Path:
        if form != "unpacked":
            return self.base / "objects" / facts.sha256[:2] / facts.sha256
        folder = self.base / "unpacked" / key
        place = folder / name
        for part in (folder, *(parent for parent in place.parents if parent.is_relative_to(folder))):
            if part.is_symlink():
                raise CacheRefusedError(part, "it is a link")
        return place

    # -- write --------------------------------------------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether anything will be written: not when it is read-only, nor after a write that failed."""
        return not self.read_only

    def save(
        self,
        key: str,
        write: Callable[[Path], bool],
        factors: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        form: str = "binary",
    ) -> bool:
        """Store what ``write(folder)`` puts into an empty folder; not when it returns False.

        Returns:
            Whether it is stored now. A folder that cannot be written to costs one warning, and nothing else.
        """
        if not self.is_writable:
            return False
        try:
            self._prepare()
            with files.folder_aside(self._aside) as folder:
                if not write(folder):
                    return False
                found = {name: path.read_bytes() for name, path in files.regular_files(folder)}
        except OSError as error:
            return self._cannot_write(error)
        return self.put(key, found, factors, facts, form)

    def put(
        self,
        key: str,
        content: Mapping[str, bytes],
        factors: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        form: str = "binary",
    ) -> bool:
        """Store files by their relative names; an older entry of the same key and form is replaced.

        Args:
            key: ``key_of(factors)``.
            content: the files.
            factors: the document, kept beside them.
            facts: what else is worth knowing.
            form: ``binary``, or ``unpacked``: in a folder of its own, to be edited.

        Returns:
            Whether it is stored now.
        """
        assert HEX.fullmatch(key), key
        assert _FORM.fullmatch(form), form
        assert all(files.is_safe_name(name) for name in content), sorted(content)
        if not self.is_writable:
            return False
        try:
            self._prepare()
            self._put(key, dict(content), factors, dict(facts or {}), form)
        except OSError as error:
            return self._cannot_write(error)
        return True

    @contextlib.contextmanager
    def locked(self, key: str, wait: bool) -> Generator[bool]:
        """Hold the key for the time of the block, so that of several processes one makes what belongs to it.

        Yields:
            Whether it is held; always when ``wait``. A folder that is not written to has no locks: True.
        """
        lock = self._lock(key)
        if lock is None:
            yield True
            return
        try:
            lock.acquire(blocking=wait)
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError) as error:
            self._cannot_write(error)
            yield True
            return
        try:
            yield True
        finally:
            lock.release()

    def _lock(self, key: str) -> FileLock | None:
        if not self.is_writable:
            return None
        try:
            self._prepare()
        except OSError as error:
            self._cannot_write(error)
            return None
        return FileLock(self.base / "locks" / f"{key}.lock")

    def _prepare(self) -> None:
        """The folders that every write needs. Leftovers of killed processes are looked for once."""
        for path in (self._aside, self.base / "locks"):
            path.mkdir(parents=True, exist_ok=True)
        if not self._ready:
            self._ready = True
            files.remove_old(self._aside)

    def _put(self, key: str, content: dict[str, bytes], factors: Any, facts: dict[str, Any], form: str) -> None:
        listed = {name: facts_of(part) for name, part in content.items()}
        path = self._document(key, form)
        if form == "unpacked":
            folder = self.base / "unpacked" / key
            content |= _edits(folder, path, content)
            path.unlink(missing_ok=True)  # from here on, until it is written again, there is no such entry
            files.write_folder(folder, content, self._aside)
        else:
            for name, part in content.items():
                self._write_object(self._place(key, form, name, listed[name]), part, listed[name])
        document = json.dumps(factors, indent=1, sort_keys=True).encode()
        files.write_whole(path.with_name(FACTORS), document, self._aside)
        entry = {
            "store": VERSION,
            "key": key,
            "form": form,
            "files": {name: vars(facts) for name, facts in listed.items()},
            "factors": vars(facts_of(document)),
            "facts": facts,
        }
        files.write_whole(path, entry_text(entry), self._aside)

    def _write_object(self, path: Path, content: bytes, facts: FileFacts) -> None:
        try:
            files.read_checked(path, facts.sha256, facts.size)
            with contextlib.suppress(OSError):  # so that nobody sweeps it away before what names it is written
                os.utime(path)
        except CacheRefusedError:  # it is not there, or damaged
            files.write_whole(path, content, self._aside)

    def _cannot_write(self, error: Exception) -> bool:
        self.read_only = True
        text = f"cutaway: nothing is written to the cache {str(self.root)!r} any more: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False


def _edits(folder: Path, path: Path, content: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a person changed in a folder that is about to be replaced, under names that say so: nothing is lost."""
    recorded = (read_object(path) or {}).get("files")
    known = {name: facts.get("sha256") for name, facts in recorded.items()} if isinstance(recorded, dict) else None
    found: dict[str, bytes] = {}
    for name, file in files.regular_files(folder):
        if name.endswith(_KEPT):
            found[name] = file.read_bytes()
        elif name.endswith(".py") and (known is None or name in known):
            text = file.read_bytes()
            digest = hashlib.sha256(text).hexdigest()
            if text.strip() and text != content.get(name) and digest != (known or {}).get(name):
                found[f"{name}.{digest[:8]}{_KEPT}"] = text
    return found
