"""What lies in a store: listed, checked, and swept.

Sweeping is safe beside processes that compile: an entry whose key somebody holds is left alone; its ``.json`` goes
first, so that from then on there is no such entry; content that no entry names goes only when it has lain there for an
hour, because a process writes content before it writes what names it. A reader that was halfway through finds a file
missing, which is what a damaged entry is, and compiles.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cutaway.compiler.cache import files
from cutaway.compiler.cache.entry import HEX, read_object
from cutaway.compiler.cache.factors import key_of
from cutaway.compiler.cache.files import CacheRefusedError
from cutaway.compiler.cache.store import FACTORS, Store

GRACE = 3600.0
"""Seconds for which content that no entry names may belong to one that is being written."""

_FORMS = ("binary", "unpacked")


@dataclass(frozen=True)
class Stored:
    """One key in a store.

    Attributes:
        key: the key.
        kind: ``model`` or ``piece``.
        of: the class of the model, or the piece and its range.
        forms: ``binary``, ``unpacked``, or both.
        made: seconds since 1970, of the newer form.
        bytes: of all its files; equal content counts for each entry that names it.
        needs: keys of the pieces that a model is put together from; None when it does not say.
        content: digests of its content.
        recorded: whether a recording of how it was made lies beside it.
    """

    key: str
    kind: str
    of: str
    forms: tuple[str, ...]
    made: float
    bytes: int
    needs: frozenset[str] | None = None
    content: frozenset[str] = frozenset()
    recorded: bool = False


@dataclass(frozen=True)
class Swept:
    """What was removed, or would be.

    Attributes:
        removed: entries.
        bytes: what is free again.
        objects: files of content that no entry names (any more).
        held: entries that were left alone because somebody is at them.
    """

    removed: tuple[Stored, ...]
    bytes: int
    objects: int
    held: tuple[Stored, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What is to go.

    Attributes:
        older_than: seconds: entries that were made before that.
        larger_than: bytes: the oldest entries, until no more than that is left.
        unreferenced: pieces that no model is put together from.
    """

    older_than: float | None = None
    larger_than: int | None = None
    unreferenced: bool = False


def stored(store: Store) -> list[Stored]:
    """Every key that has an entry, the newest first; content is not looked at."""
    found = [one for folder in _folders(store) if (one := _stored(store, folder)) is not None]
    return sorted(found, key=lambda one: (-one.made, one.key))


def check(store: Store) -> Iterator[tuple[str, str]]:
    """What is wrong: (key, why), one at a time; every file is read."""
    for folder in _folders(store):
        key = folder.name
        document = store.factors(key)
        if document is None:
            yield key, f"{FACTORS} is missing or no JSON: its miss cannot be explained, and it is not used"
        elif key_of(document) != key:
            yield key, f"{FACTORS} is of another key: its digest is {key_of(document)[:10]}"
        for form in _FORMS:
            try:
                entry = store.get(key, form)
            except CacheRefusedError as error:
                yield key, str(error)
                continue
            for name in entry.edited if entry is not None else ():
                yield key, f"{name} was edited by hand since it was generated"


def sweep(store: Store, wish: Wish, dry_run: bool = False) -> Swept:
    """Remove entries, and content that none names; with ``dry_run`` only say what would go."""
    every = stored(store)
    chosen = _chosen(every, wish)
    removed: list[Stored] = []
    held: list[Stored] = []
    freed = 0
    for one in chosen:
        own = _own_bytes(store, one)
        if dry_run or _remove(store, one):
            removed.append(one)
            freed += own
        else:
            held.append(one)
    gone = {one.key for one in removed}
    named = {digest for one in every if one.key not in gone for digest in one.content}
    if not dry_run:  # an entry that was written in the meantime names what it needs
        named |= {digest for one in stored(store) for digest in one.content}
    count, size = _sweep_objects(store, named, {digest for one in removed for digest in one.content}, dry_run)
    return Swept(tuple(removed), freed + size, count, tuple(held))


def _chosen(every: list[Stored], wish: Wish) -> list[Stored]:
    now = time.time()
    chosen = {one.key for one in every if wish.older_than is not None and now - one.made > wish.older_than}
    models = [one for one in every if one.kind == "model"]
    if wish.unreferenced and all(one.needs is not None for one in models):
        needed = {key for one in models if one.key not in chosen for key in one.needs or ()}
        chosen |= {one.key for one in every if one.kind == "piece" and one.key not in needed}
    if wish.larger_than is not None:
        left = sum(one.bytes for one in every if one.key not in chosen)
        for one in reversed(every):
            if left <= wish.larger_than:
                break
            if one.key not in chosen:
                chosen.add(one.key)
                left -= one.bytes
    # A model is of no use without its pieces.
    chosen |= {one.key for one in models if one.needs is not None and not chosen.isdisjoint(one.needs)}
    return [one for one in every if one.key in chosen]


def _folders(store: Store) -> list[Path]:
    return sorted(path for path in (store.base / "entries").glob("*/*") if HEX.fullmatch(path.name) and path.is_dir())


def _stored(store: Store, folder: Path) -> Stored | None:
    documents = {form: read_object(folder / f"{form}.json") for form in _FORMS}
    known: dict[str, dict[str, Any]] = {form: found for form, found in documents.items() if found is not None}
    if not known:
        return None
    facts: Mapping[str, Any] = next(iter(known.values())).get("facts") or {}
    factors = store.factors(folder.name) or {}
    is_model = factors.get("kind") == "model"
    listed = {form: _files(document) for form, document in known.items()}
    needs = facts.get("identities") if is_model else None
    tag, name = str(facts.get("class") or ""), str(facts.get("tag") or "")
    piece = " for ".join(str(facts[part]) for part in ("piece", "range") if facts.get(part))
    return Stored(
        key=folder.name,
        kind="model" if is_model else "piece",
        of=" ".join(part for part in (tag, name) if part) if is_model else piece,
        forms=tuple(known),
        made=max(_time(folder / f"{form}.json") for form in known),
        bytes=sum(size for form in listed.values() for _, size in form) + _size_of(folder),
        needs=frozenset(needs) if isinstance(needs, dict) else None,
        content=frozenset(digest for digest, _ in listed.get("binary", ())),
        recorded=any(folder.glob("*.recorded.zip")),
    )


def _files(document: Mapping[str, Any]) -> list[tuple[str, int]]:
    listed = document.get("files")
    found = listed.values() if isinstance(listed, dict) else ()
    return [
        (str(one["sha256"]), one["size"])
        for one in found
        if isinstance(one, dict) and isinstance(one.get("size"), int) and HEX.fullmatch(str(one.get("sha256")))
    ]


def _remove(store: Store, one: Stored) -> bool:
    """Remove an entry; False when somebody is at it."""
    with store.locked(one.key, wait=False) as held:
        if not held or not store.is_writable:
            return False
        folder = store.base / "entries" / one.key[:2] / one.key
        for form in _FORMS:
            with contextlib.suppress(OSError):
                (folder / f"{form}.json").unlink(missing_ok=True)
        files.move_away(store.base / "unpacked" / one.key, store.base / "tmp")
        files.move_away(folder, store.base / "tmp")
        return True


def _sweep_objects(store: Store, named: Iterable[str], freed: Iterable[str], dry_run: bool) -> tuple[int, int]:
    """Remove content that no entry names: what was just freed at once, other only when it has lain there."""
    kept, loose = set(named), set(freed)
    count = size = 0
    for path in (store.base / "objects").glob("*/*"):
        if path.name in kept or not HEX.fullmatch(path.name):
            continue
        if path.name not in loose and time.time() - _time(path) < GRACE:
            continue
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
            count += 1
            if not dry_run:
                path.unlink()
    return count, size


def _own_bytes(store: Store, one: Stored) -> int:
    """What goes with an entry besides content that others may name."""
    return _size_of(store.base / "entries" / one.key[:2] / one.key) + _size_of(store.base / "unpacked" / one.key)


def _size_of(folder: Path) -> int:
    total = 0
    for _, path in files.regular_files(folder):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _time(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
