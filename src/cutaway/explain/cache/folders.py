"""The entries of a cache's folder: vLLM's, and ours. Read only, and nothing in them is executed or unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cutaway.errors import ExplainError
from cutaway.explain.cache.key import Key
from cutaway.explain.cache.of_inductor import is_of_inductor
from cutaway.record.kept.notes import SUFFIX, Notes, read_notes

FACTORS = "cache_key_factors.json"
NOTES = f"cutaway{SUFFIX}"
_COMPILE = "torch_compile_cache"
_OURS = "v1/entries"
_LONGEST = 1 << 26


@dataclass(frozen=True)
class Folder:
    """A cache.

    Attributes:
        kind: ``vllm``, ``cutaway`` or ``inductor``.
        root: vLLM's ``VLLM_CACHE_ROOT``, ours, or Inductor's ``TORCHINDUCTOR_CACHE_DIR``.
    """

    kind: str
    root: Path

    def keys(self) -> list[Key]:
        """Every entry that says what its key was made of, the oldest first.

        Raises:
            ExplainError: it is Inductor's, where none says so.
        """
        if self.kind == "inductor":
            raise ExplainError(
                "torch keeps of a key its digest alone",
                f"{str(self.root)!r} is Inductor's cache",
                "record both starts (`cutaway run`), then ask `cutaway why cache` of the dump",
            )
        found = list(_vllm_keys(self.root) if self.kind == "vllm" else _own_keys(self.root))
        return sorted(found, key=lambda key: (key.made, key.place))


def folder_at(path: Path) -> Folder | None:
    """The cache that a path is, or lies in; None when it is none."""
    for one in (path, *path.parents[:2]):
        if (one / _OURS).is_dir():
            return Folder("cutaway", one)
        if (one / _COMPILE).is_dir():
            return Folder("vllm", one)
    if path.name == _COMPILE or any(path.glob(f"*/rank_*/*/{FACTORS}")):
        return Folder("vllm", path.parent if path.name == _COMPILE else path)
    return next((Folder("inductor", one) for one in (path, *path.parents[:1]) if is_of_inductor(one)), None)


def open_folder(path: Path) -> Folder:
    """The same.

    Raises:
        ExplainError: it is no cache.
    """
    found = folder_at(path)
    if found is None:
        why = (
            "there is no such folder"
            if not path.is_dir()
            else "it has no `torch_compile_cache`, no `v1/entries`, and no `fxgraph`"
        )
        raise ExplainError(
            f"there is no cache at {str(path)!r}",
            why,
            "give vLLM's VLLM_CACHE_ROOT, the cache folder of Cutaway, or Inductor's TORCHINDUCTOR_CACHE_DIR",
        )
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """A file's JSON object; None when there is none that can be read."""
    try:
        if path.is_symlink() or path.stat().st_size > _LONGEST:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _vllm_keys(root: Path) -> Iterator[Key]:
    base = root / _COMPILE if (root / _COMPILE).is_dir() else root
    for path in sorted(base.glob(f"*/*/*/{FACTORS}")):
        document = read_json(path)
        if document is None:
            continue
        entry, rank, tag = path.parts[-4:-1]
        notes = read_notes(path.with_name(NOTES)) or Notes({})
        yield Key(
            cache="vllm",
            name=entry,
            made=time_of(path),
            factors={**notes.factors, **document},
            sources=notes.sources,
            of=str(notes.facts.get("model") or ""),
            part=f"{rank}/{tag}",
            place=str(path.parent.relative_to(root)),
        )


def _own_keys(root: Path) -> Iterator[Key]:
    for path in sorted((root / _OURS).glob(f"*/*/{FACTORS}")):
        document = read_json(path)
        if document is None:
            continue
        made = next(
            (found for name in ("binary", "unpacked") if (found := read_json(path.with_name(f"{name}.json")))), {}
        )
        facts = made.get("facts")
        facts = facts if isinstance(facts, dict) else {}
        is_model = document.get("kind") == "model"
        notes = read_notes(path.with_name(NOTES)) or Notes({})
        files = {name: sha256(text.encode("utf-8", "replace")).hexdigest()[:16] for name, text in notes.sources.items()}
        of = (
            facts.get("tag")
            if is_model
            else " for ".join(str(facts[name]) for name in ("piece", "range") if name in facts)
        )
        yield Key(
            cache="cutaway",
            name=path.parent.name,
            made=time_of(path),
            factors={**document, "files": files} if files else document,
            sources=notes.sources,
            of=str(of or ""),
            part="model" if is_model else "piece",
            place=str(path.parent.relative_to(root)),
        )
