"""What lies in Inductor's folder (``TORCHINDUCTOR_CACHE_DIR``), and what of it is damaged. Nothing in it is unpickled.

fxgraph/xx/KEY/DIGEST     FxGraphCache (torch/_inductor/codecache.py): compiled graphs
aotautograd/KEY/DIGEST    AOTAutogradCache (torch/_functorch/_aot_autograd/autograd_cache.py)
xx/cxx….py, .cpp, .so     generated code, and what was compiled of it
triton/, precompiled_headers/, locks/, tmp…
"""

from __future__ import annotations

import getpass
import os
import re
import tempfile
from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
GRAPHS = ("fxgraph", "aotautograd")
_ODD = r'[\\/:*?"<>|]'
_CODE = re.compile(r"[a-z0-9]{2}")
_DIGITS = 51
_NAMES = {
    "fxgraph": "compiled graphs (FxGraphCache)",
    "aotautograd": "compiled graphs with what AOTAutograd puts around them (AOTAutogradCache)",
    "code": "generated code, and kernels built of it",
    "triton": "kernels of Triton",
    "precompiled_headers": "precompiled headers",
    "other": "locks, and what is left of compiles",
}


@dataclass(frozen=True)
class Lot:
    """All of one kind.

    Attributes:
        kind: ``fxgraph``, ``aotautograd``, ``code``, ``triton``, ``precompiled_headers`` or ``other``.
        what: that in words.
        count: of keys; of "code" and "other", of files.
        bytes: of all files.
        oldest, newest: when a file was written, in seconds since 1970.
    """

    kind: str
    what: str
    count: int
    bytes: int
    oldest: float
    newest: float


def default_folder(environment: Mapping[str, str]) -> Path:
    """Where Inductor keeps what it compiles, with these variables (torch/_inductor/runtime/cache_dir_utils.py)."""
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser()
    return Path(tempfile.gettempdir()) / folder_name()


def folder_name() -> str:
    """The name of Inductor's folder among temporary files."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    return f"torchinductor_{re.sub(_ODD, '_', user)}"


def is_of_inductor(path: Path) -> bool:
    """Whether a folder is one of Inductor's, by what lies in it."""
    return any((path / name).is_dir() for name in GRAPHS)


def lots_of(root: Path) -> list[Lot]:
    """What lies in it, by kind; a kind of which nothing is there is left out."""
    files: dict[str, list[os.stat_result]] = {}
    keys: dict[str, set[str]] = {}
    for path, facts in _files(root):
        first, *rest = path.relative_to(root).parts
        kind = first if first in _NAMES else "code" if rest and _CODE.fullmatch(first) else "other"
        files.setdefault(kind, []).append(facts)
        keys.setdefault(kind, set()).add(_key(kind, rest, str(path)))
    return [
        Lot(
            kind,
            _NAMES[kind],
            len(keys[kind]),
            sum(one.st_size for one in files[kind]),
            min(one.st_mtime for one in files[kind]),
            max(one.st_mtime for one in files[kind]),
        )
        for kind in _NAMES
        if kind in files
    ]


def check_inductor(root: Path) -> Iterator[tuple[str, str]]:
    """What is wrong: (key, why). A graph's file is named by the digest of what it holds."""
    for kind in GRAPHS:
        for path, facts in _files(root / kind):
            if re.fullmatch(rf"[a-z2-7]{{{_DIGITS}}}", path.name) and path.name != _digest(path):
                why = "is empty" if not facts.st_size else "is not what was put there: its digest is another"
                yield path.parent.name, f"{path.relative_to(root)} {why}"
    for path, facts in _files(root):
        if _CODE.fullmatch(path.parent.name) and path.parent.parent == root and not facts.st_size:
            yield path.stem, f"{path.relative_to(root)} is empty: a process was killed, or the disk was full"


def _key(kind: str, parts: list[str], path: str) -> str:
    depth = {"fxgraph": 2, "aotautograd": 1, "triton": 1}.get(kind)
    return "/".join(parts[:depth]) if depth is not None else path


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file; one that goes meanwhile is passed over, links are not followed."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            try:
                facts = path.lstat()
            except OSError:
                continue
            if not path.is_symlink():
                yield path, facts


def _digest(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return path.name  # it went meanwhile
    return b32encode(sha256(content).digest()).decode().lower()[:_DIGITS]
