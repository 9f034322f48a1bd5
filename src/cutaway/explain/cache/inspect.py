"""What lies in vLLM's cache, and whether it is what it says it is. Nothing is written, executed or unpickled."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b, file_digest, sha256
from pathlib import Path
from typing import Any

from cutaway.explain.cache.folders import FACTORS, NOTES, Folder, read_json, time_of
from cutaway.record.kept import file as kept
from cutaway.record.kept.notes import read_notes

_WHOLE = "torch_aot_compile"
_KEY = re.compile(r"[0-9a-f]{10}")
_DIGESTS = ("config_hash", "code_hash", "compiler_hash")


@dataclass(frozen=True)
class Held:
    """An entry of vLLM's cache.

    Attributes:
        key: name of its folder.
        kind: ``model`` (a whole model, as ``torch_aot_compile`` has it) or ``graphs`` (what a compile wrote).
        model: its path, where that was recorded.
        ranks: processes that have a part in it, such as ``rank_0_0``.
        made: seconds since 1970.
        bytes: of all files.
        recorded: whether a recording, or notes on its key, lie beside it.
    """

    key: str
    kind: str
    model: str
    ranks: tuple[str, ...]
    made: float
    bytes: int
    recorded: bool


def entries_of_vllm(folder: Folder) -> list[Held]:
    """Every entry, the newest first."""
    found = [_held(path, kind) for path, kind in _paths(folder)]
    return sorted(found, key=lambda one: (-one.made, one.key))


def check_vllm(folder: Folder) -> Iterator[tuple[str, str]]:
    """What is wrong: (key, why)."""
    for path, kind in _paths(folder):
        for why in _wrong_model(path) if kind == "model" else _wrong_graphs(path):
            yield path.name, why
        for empty in (one for one in path.rglob("*") if one.is_file() and one.suffix in _CONTENT and _size(one) == 0):
            yield path.name, f"{empty.relative_to(path)} is empty: a process was killed, or the disk was full"


_CONTENT = (".so", ".py", ".cpp", ".json", ".cubin", "")


def _paths(folder: Folder) -> Iterator[tuple[Path, str]]:
    base = folder.root / "torch_compile_cache"
    base = base if base.is_dir() else folder.root
    for path in sorted(base.iterdir()):
        if path.is_dir() and path.name != _WHOLE and any(path.glob("rank_*")):
            yield path, "graphs"
    whole = base / _WHOLE
    for path in sorted(whole.iterdir()) if whole.is_dir() else ():
        if path.is_dir():
            yield path, "model"


def _held(path: Path, kind: str) -> Held:
    files = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    ranks = sorted(one.name for one in path.glob("rank_*"))
    notes = [found for one in path.glob(f"*/*/{NOTES}") if (found := read_notes(one)) is not None]
    recorded = bool(notes) or any(one.name.endswith(kept.SUFFIX) for one in files)
    model = str(notes[0].facts.get("model") or "") if notes else ""
    made = max((time_of(one) for one in (*path.glob("*/model"), *path.glob(f"*/*/{FACTORS}"))), default=time_of(path))
    return Held(path.name, kind, model, tuple(ranks), made, sum(map(_size, files)), recorded)


def _wrong_graphs(path: Path) -> Iterator[str]:
    """Whether the factors are those that the folder is named by."""
    found = sorted(path.glob(f"*/*/{FACTORS}"))
    if not found:
        yield f"no {FACTORS} lies in it: a process was killed before it wrote one"
    for one in found:
        document = read_json(one)
        if document is None:
            yield f"{one.relative_to(path)} is no JSON"
        elif _KEY.fullmatch(path.name) and (named := _name_of(document)) not in (None, path.name):
            yield f"{one.relative_to(path)} is of another key: what it says makes {named}"


def _name_of(document: dict[str, Any]) -> str | None:
    """The name that vLLM gives to these factors (``VllmBackend.__call__``); None where they are not all there."""
    digests = [document.get(name) for name in _DIGESTS]
    if not isinstance(document.get("env"), dict) or not all(isinstance(one, str) for one in digests):
        return None
    environment = sha256(json.dumps(document["env"], sort_keys=True).encode()).hexdigest()
    return sha256(str([environment, *digests]).encode()).hexdigest()[:10]


def _wrong_model(path: Path) -> Iterator[str]:
    ranks = sorted(path.glob("rank_*"))
    for rank in ranks:
        artifact = rank / "model"
        if not artifact.exists():
            yield f"{rank.name}/model is missing: a compile that was interrupted, or one that failed"
            continue
        recording = artifact.with_name(artifact.name + kept.SUFFIX)
        try:
            found = kept.read(recording)
        except kept.RefusedError as error:
            yield f"{rank.name}/{recording.name}: {error}"
            continue
        if found is not None and found.head.get("entry") not in (None, _digest(artifact)):
            yield (
                f"{rank.name}/model is not the artifact that was recorded under this key: it was compiled again "
                "without a recording, or somebody has put another there"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
