"""One kept recording: a zip of plain text, written whole or not at all, every part of it checked when it is read.

kept.json            what it is of, who recorded it and when, a digest of the events
events.jsonl         the events, in order
files/<digest>       the content of the files that the events name
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

SUFFIX = ".recorded.zip"
VERSION = 1
LONGEST = 1 << 26  # bytes, unpacked: what is larger is not kept, and not read
_MOST_FILES = 20_000
_HEAD, _EVENTS, _FILES = "kept.json", "events.jsonl", "files/"
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same recording makes the same file
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


class RefusedError(Exception):
    """A kept recording cannot be used, or nothing can be kept; says why in words, and never leaves the recorder."""


@dataclass(frozen=True)
class Kept:
    """A kept recording.

    Attributes:
        head: what it is of; see ``collect.py``.
        rows: its events as JSON objects; see ``collect.py``.
        texts: digest -> content of a file.
    """

    head: Mapping[str, Any]
    rows: list[dict[str, Any]]
    texts: Mapping[str, bytes]


def digest(content: bytes) -> str:
    """blake2b, 16 bytes, in hex: as files are announced in a manifest."""
    return blake2b(content, digest_size=16).hexdigest()


def write(path: Path, kept: Kept) -> None:
    """Write a kept recording; an older one is replaced.

    Raises:
        RefusedError: it is larger than is kept.
        OSError: the folder cannot be written to.
    """
    events = "".join(f"{_encode(row)}\n" for row in kept.rows).encode("utf-8", "backslashreplace")
    size = len(events) + sum(map(len, kept.texts.values()))
    if size > LONGEST or len(kept.texts) > _MOST_FILES:
        raise RefusedError(f"it has {size >> 20} MB; no more than {LONGEST >> 20} MB are kept")
    head = {"kept": VERSION, **kept.head, "events": digest(events)}
    parts = {_HEAD: json.dumps(head, indent=1, ensure_ascii=False).encode(), _EVENTS: events}
    parts |= {_FILES + name: content for name, content in kept.texts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(_member(name), content)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _STAMP)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def read(path: Path) -> Kept | None:
    """The kept recording at ``path``; None when there is none.

    Raises:
        RefusedError: there is one, and it is not what was written, or not ours to read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"it cannot be read ({error.strerror or error})") from error
    except RefusedError:
        raise
    except Exception as error:  # zipfile, zlib and json have many ways to say that something is torn
        raise RefusedError(f"it is damaged ({type(error).__name__}: {error})") from error


def _read(archive: zipfile.ZipFile) -> Kept:
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > LONGEST or len(members) > _MOST_FILES + 2:
        raise RefusedError(f"it would have {size >> 20} MB unpacked, more than is ever written")
    head = json.loads(archive.read(_HEAD))
    if not isinstance(head, dict) or head.get("kept") != VERSION:
        version = head.get("kept") if isinstance(head, dict) else None
        raise RefusedError(f"it is of format {version!r}, and this Cutaway reads {VERSION}")
    events = archive.read(_EVENTS)
    if head.get("events") != digest(events):
        raise RefusedError("it is damaged: its events are not those that were written")
    rows = [json.loads(line) for line in events.decode().split("\n")[:-1]]
    texts = {member.filename[len(_FILES) :]: archive.read(member) for member in members if _is_file(member)}
    for name, content in texts.items():
        if digest(content) != name:
            raise RefusedError(f"it is damaged: its file {name} is not what was written")
    return Kept(head, rows, texts)


def _is_file(member: zipfile.ZipInfo) -> bool:
    return member.filename.startswith(_FILES)
