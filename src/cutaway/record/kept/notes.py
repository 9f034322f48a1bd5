"""What a cache's key was made of, kept beside the entry: values where the cache keeps digests, and the files traced.

A later miss can then be told in values and lines (`cutaway why cache`). Written while a recording is on, and read by
that command alone: no cache looks at it. One gzipped JSON file, checked when it is read.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

SUFFIX = ".notes.json.gz"
VERSION = 1
LONGEST = 1 << 25  # bytes, unpacked
_SHOWN = 8
_LONGEST_LINE = 160


@dataclass(frozen=True)
class Notes:
    """What is known of a key.

    Attributes:
        factors: section -> name -> value, as JSON.
        sources: path of a traced file -> its text.
        facts: what else is worth knowing: key, model, time in seconds since 1970.
    """

    factors: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def write_notes(path: Path, notes: Notes) -> None:
    """Write notes whole or not at all; older ones are replaced. What is too large loses its sources.

    Raises:
        OSError: the folder cannot be written to.
    """
    document = {"notes": VERSION, "factors": notes.factors, "facts": notes.facts, "sources": notes.sources}
    text = json.dumps(document, sort_keys=True, default=str)
    if len(text) > LONGEST:
        text = json.dumps({**document, "sources": {}}, sort_keys=True, default=str)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(gzip.compress(text.encode("utf-8", "backslashreplace"), mtime=0))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def read_notes(path: Path) -> Notes | None:
    """The notes at ``path``; None when there are none that can be read."""
    try:
        with gzip.open(path) as stream:
            content = stream.read(LONGEST + 1)
        found = json.loads(content) if len(content) <= LONGEST else None
    except (OSError, EOFError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("notes") != VERSION:
        return None
    factors, facts, sources = (found.get(name) for name in ("factors", "facts", "sources"))
    if not isinstance(factors, dict) or not isinstance(facts, dict) or not isinstance(sources, dict):
        return None
    return Notes(factors, {str(name): text for name, text in sources.items() if isinstance(text, str)}, facts)


def changed_lines(old: str, new: str) -> list[dict[str, Any]]:
    """Where a text differs from an older one.

    Returns:
        ``{"line": first line in the new text (from 1), "count": how many lines, "old": ..., "new": ...}`` for each
        place, with the first line of either; at most eight places.
    """
    before, after = old.splitlines(), new.splitlines()
    found: list[dict[str, Any]] = []
    for tag, from_old, to_old, from_new, to_new in _matcher(before, after).get_opcodes():
        if tag != "equal":
            found.append(
                {
                    "line": from_new + 1,
                    "count": max(to_new - from_new, 1),
                    "old": before[from_old].strip()[:_LONGEST_LINE] if to_old > from_old else None,
                    "new": after[from_new].strip()[:_LONGEST_LINE] if to_new > from_new else None,
                }
            )
    return found[:_SHOWN]


def _matcher(before: list[str], after: list[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(None, before, after, autojunk=False)
