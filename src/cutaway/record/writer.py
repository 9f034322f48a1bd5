"""One process's folder in a dump: files complete or absent, then announced in an append-only manifest.

A file is written aside, renamed, and only then named in the manifest, so that after ``kill -9`` everything that
is announced can be read. A manifest line that could not be written whole is taken back.
"""

from __future__ import annotations

import json
import os
import time
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import Any

RUN_VARIABLE = "CUTAWAY_RUN"
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def claim_folder(parent: Path, first: str, later: str) -> Path:
    """Make and return a folder nobody else has: ``first``, or ``later.format(n)`` for n = 2, 3, ...

    Raises OSError when ``parent`` cannot be written.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (first if number == 1 else later.format(number))
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def claim_run(root: Path, share: bool) -> Path:
    """The folder of this run: ``run_001``, ``run_002``, ... below ``root``.

    Args:
        root: where dumps go.
        share: join the run that a parent process began (its name is handed down in the environment), and hand
            the name down to the processes that this one starts.
    """
    inherited = os.environ.get(RUN_VARIABLE, "")
    if share and inherited.startswith(f"{root}{os.pathsep}"):
        folder = root / inherited.rsplit(os.pathsep, 1)[1]
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder = claim_folder(root, "run_001", "run_{:03d}")
    if share:
        os.environ[RUN_VARIABLE] = f"{root}{os.pathsep}{folder.name}"
    return folder


class DumpWriter:
    """Writes one process's folder. Thread-safe. After the first failed write it writes no more files.

    Args:
        folder: the process folder; it exists.
        max_bytes: stop writing files (not events) once they add up to this; None for no limit.

    Attributes:
        bytes_written: of the files that were announced.
        files_left_out: how many files there was no room for.
        failure: what the disk refused with, last.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.bytes_written = 0
        self._announced: set[str] = set()
        self.files_left_out = 0
        self.failure: OSError | None = None
        self._lock = RLock()
        self._sequence = 0
        self._pid = os.getpid()
        self._manifest = os.open(folder / "manifest.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def close(self) -> None:
        with self._lock:
            if self._manifest >= 0:
                os.close(self._manifest)
                self._manifest = -1

    def write(self, kind: str, path: str, text: str | bytes, *, announce: bool = True) -> dict[str, Any] | None:
        """Write ``text`` to ``path`` (relative) and return its manifest entry; None when it was left out.

        Raises OSError when the disk refuses; nothing half-written stays behind.
        """
        content = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        with self._lock:
            if self.failure is not None or self._full(len(content), announce):
                self.files_left_out += 1
                return None
            if announce and kind != "nodes":  # a table's name is what it holds
                path = self._unused(path)
            target = self.folder / path
            aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                aside.write_bytes(content)
                aside.replace(target)
            except OSError as error:
                self.failure = error
                aside.unlink(missing_ok=True)
                raise
            self.bytes_written += len(content) if announce else 0
        digest = blake2b(content, digest_size=16).hexdigest()
        return {"kind": kind, "path": path, "bytes": len(content), "digest": digest}

    def write_graph(self, stem: str, graph: str, raw: str, layers: str, table: str) -> list[dict[str, Any]]:
        """Write the three files of a graph; returns the entries of those that were not left out. Raises OSError.

        Args:
            stem: folder and name, without the suffix, of its raw file and its structured trace.
            graph: its fingerprint; the node table is called so.
            raw, layers, table: what they hold.
        """
        files = [
            self.write("raw", f"{stem}.py", raw),
            self.write("layers", f"{stem}.layers.txt", layers),
            self.write("nodes", f"nodes/{graph}.json", table),
        ]
        return [entry for entry in files if entry is not None]

    def _unused(self, path: str) -> str:
        """``path``, or one beside it: what has been announced is never written again."""
        folder, _, name = path.rpartition("/")
        stem, dot, suffix = name.rpartition(".")
        number = 1
        while path in self._announced:
            number += 1
            path = f"{folder}/{stem}~{number}{dot}{suffix}"
        self._announced.add(path)
        return path

    def _full(self, size: int, announce: bool) -> bool:
        return announce and self.max_bytes is not None and self.bytes_written + size > self.max_bytes

    def event(self, event: str, **facts: Any) -> int | None:
        """Append one line to the manifest and return its number; None when it is closed, or another process's.

        Raises OSError when the disk refuses; no torn line stays behind.
        """
        with self._lock:
            if self._manifest < 0 or os.getpid() != self._pid:
                return None
            line = {"seq": self._sequence, "time": round(time.time(), 6), "event": event, **facts}
            content = (_encode(line) + "\n").encode("utf-8", "backslashreplace")
            end = os.fstat(self._manifest).st_size
            try:
                written = os.write(self._manifest, content)
                if written != len(content):
                    raise OSError(28, "No space left on device", str(self.folder / "manifest.jsonl"))
            except OSError as error:
                self.failure = error
                os.ftruncate(self._manifest, end)
                raise
            self._sequence += 1
            return self._sequence - 1
