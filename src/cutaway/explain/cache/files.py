"""Which of the traced files are others: moved, edited (with lines, where their texts were kept), no longer traced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from cutaway.explain.cache.key import Key
from cutaway.record.kept.notes import changed_lines

Found = tuple[str, str, Any, Any, str]
"""Kind, factor, old, new, words."""


def file_differences(old: Key, new: Key) -> list[Found]:
    """What is another in the traced files of two keys; nothing where one of them does not say."""
    before, after = (dict(key.factors.get("files") or {}) for key in (old, new))
    if not before or not after:
        return []
    found, moved = _moved(before, after)
    for path in sorted(before.keys() | after.keys()):
        if path in moved:
            continue
        if path not in after:
            found.append(("source", f"files.{path}", before[path], None, f"{_short(path)} is not traced any more"))
        elif path not in before:
            found.append(("source", f"files.{path}", None, after[path], f"{_short(path)} is traced, and was not"))
        elif before[path] != after[path]:
            places = _places(path, path, old, new, after[path])
            found += [(*one[:2], before[path], after[path], one[2]) for one in edited(path, places)]
    for path, was in moved.items():
        if path in after and was in before and before[was] != after[path]:
            places = _places(was, path, old, new, after[path])
            found += [(*one[:2], before[was], after[path], one[2]) for one in edited(path, places)]
    return found


def edited(path: str, places: Iterable[Mapping[str, Any]] | None) -> list[tuple[str, str, str]]:
    """``(kind, factor, words)`` for each place in which a file changed; one where the places are not known."""
    factor = f"files.{path}"
    if places is None:
        words = f"{_short(path)} changed; in which lines is not known, because its text was not kept"
        return [("source", factor, words)]
    said = [("source", factor, _place(path, place)) for place in places]
    return said or [("source", factor, f"{_short(path)} changed, in the ends of its lines alone")]


def _place(path: str, place: Mapping[str, Any]) -> str:
    first, count = int(place.get("line") or 1), int(place.get("count") or 1)
    lines = f"line {first}" if count == 1 else f"lines {first}–{first + count - 1}"
    old, new = place.get("old"), place.get("new")
    if old is None and new is not None:
        return f"{_short(path)} {lines} added: {new}"
    if new is None and old is not None:
        return f"{_short(path)} before line {first}, taken away: {old}"
    return f"{_short(path)} {lines} changed: {old} → {new}"


def _places(was: str, path: str, old: Key, new: Key, digest: str) -> list[dict[str, Any]] | None:
    """The places that changed; None when a text is not known. The file may still be what it was when it was traced."""
    text = new.sources.get(path)
    if text is None:
        text = _on_disk(path, digest)
    earlier = old.sources.get(was)
    return changed_lines(earlier, text) if earlier is not None and text is not None else None


def _on_disk(path: str, digest: str) -> str | None:
    try:
        text = Path(path).read_text()
    except (OSError, ValueError):
        return None
    return text if sha256(text.encode("utf-8", "replace")).hexdigest()[:16] == digest else None


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[Found], dict[str, str]]:
    """Files that lie elsewhere now, one finding for each pair of folders; path, old or new -> old path."""
    gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for was in gone:
        best = max(come, key=lambda path: _common_end(was, path), default=None)
        if best is None or _common_end(was, best) == 0:
            continue
        same = before[was] == after[best]
        if not same and _common_end(was, best) < 2:
            continue
        come.remove(best)
        pairs.setdefault(_folders(was, best), []).append((was, best))
    found: list[Found] = []
    moved: dict[str, str] = {}
    for (old, new), files in pairs.items():
        same = sum(before[was] == after[path] for was, path in files)
        contents = "contents the same" if same == len(files) else f"{same} with the same contents"
        count = f"{len(files)} traced file{'s' if len(files) > 1 else ''}, {contents}"
        found.append(("folder", f"files.{new}", old, new, f"the model's code has moved: {old} → {new} ({count})"))
        for was, path in files:
            moved[was] = moved[path] = was
    return found, moved


def _common_end(one: str, other: str) -> int:
    """How many components two paths end in alike."""
    count = 0
    for a, b in zip(reversed(PurePosixPath(one).parts), reversed(PurePosixPath(other).parts), strict=False):
        if a != b:
            break
        count += 1
    return count


def _folders(one: str, other: str) -> tuple[str, str]:
    """What is before the part in which two paths end alike."""
    count = _common_end(one, other)
    first, second = PurePosixPath(one).parts, PurePosixPath(other).parts
    return str(PurePosixPath(*first[: len(first) - count])), str(PurePosixPath(*second[: len(second) - count]))


def _short(path: str) -> str:
    return PurePosixPath(path).name
