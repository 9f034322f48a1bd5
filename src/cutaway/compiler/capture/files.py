"""The source files that modules were loaded from."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path


def source_digests(modules: Iterable[str]) -> dict[str, str]:
    """Digest of the source file of every module named, by name; ``"?"`` where there is none to read."""
    return {name: digest_of_module(name) for name in modules}


def digest_of_module(name: str) -> str:
    """Digest of a module's source file; ``"?"`` where there is none to read."""
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if path is None:
        return "?"
    try:
        return _digest_of_file(path, Path(path).stat().st_mtime_ns)
    except OSError:
        return "?"


@functools.lru_cache(maxsize=4096)
def _digest_of_file(path: str, changed_at: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
