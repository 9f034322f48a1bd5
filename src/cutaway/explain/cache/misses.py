"""Why a cache did not serve: each miss with the entries that come nearest, and what is another in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cutaway.dump import Dump, load
from cutaway.dump.compilation import Compilation
from cutaway.dump.locate import MANIFEST
from cutaway.explain.cache.differences import Difference, differences, distance
from cutaway.explain.cache.files import edited
from cutaway.explain.cache.folders import Folder, folder_at, open_folder
from cutaway.explain.cache.key import Key
from cutaway.explain.cache.miss import Miss, Neighbour
from cutaway.explain.cache.of_torch import misses_of_torch

_SLACK = 2.0  # seconds by which an entry's time may lie after the event that precedes it
_NEIGHBOURS = 3
_ENGINES = ("vllm", "cutaway")  # whose caches stand before torch's own


def explain_cache(
    path: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None, run: str | None = None,
    rank: str | None = None,
) -> list[Miss]:  # fmt: skip
    """Every miss of a recorded run, or of a cache's folder each entry that was made although others were there.

    Args:
        path: a dump, vLLM's ``VLLM_CACHE_ROOT``, or a cache of Cutaway.
        cache: of a dump: where the cache lies that was asked; None for where the run had it.
        run, rank: of a dump: which.

    Returns:
        The misses, pieces that missed for one and the same reason as one; none where everything was served.

    Raises:
        DumpError, ExplainError: there is neither a dump nor a cache.
    """
    place = Path(path)
    folder = None if _is_dump(place) else folder_at(place)
    if folder is not None:
        return _of_folder(folder)
    if place.is_dir() and not _is_dump(place):
        open_folder(place)  # says what is missing
    dump = load(path, run, rank)
    events = [event for compilation in dump for event in compilation.caches]
    if not any(event.kind.startswith(_ENGINES) for event in events):
        return _folded(misses_of_torch(dump))
    return _folded([miss for compilation in dump for miss in _of_compilation(dump, compilation, cache)])


def _is_dump(path: Path) -> bool:
    return any(next(path.glob(f"{up}{MANIFEST}"), None) for up in ("", "*/", "*/*/"))


# -- folders --------------------------------------------------------------------------------------------------


def _of_folder(folder: Folder) -> list[Miss]:
    """The newest first. A piece of ours is held against entries of the same graph alone."""
    keys = folder.keys()
    found: list[Miss] = []
    for number, key in enumerate(keys):
        earlier = [one for one in keys[:number] if _is_alike(one, key)]
        if not earlier or any(one.name == key.name for one in earlier):
            continue
        kind = {"vllm": "vllm", "model": "cutaway_model"}.get(
            key.cache if key.cache == "vllm" else key.part, "cutaway_piece"
        )
        found.append(Miss(kind, (key.of or key.part,), key.name, nearest=_neighbours(key, earlier)))
    return _folded(found[::-1])


def _is_alike(one: Key, other: Key) -> bool:
    if one.cache == "vllm" or one.part == "model":
        return one.part == other.part
    graphs = [(key.factors.get("graph") or {}).get("fingerprint") for key in (one, other)]
    return one.part == other.part and graphs[0] == graphs[1]


def _neighbours(key: Key, entries: Iterable[Key]) -> tuple[Neighbour, ...]:
    """The nearest first; of equally near ones the newest."""
    near = [(differences(one, key), one) for one in entries]
    near.sort(key=lambda pair: (distance(pair[0]), -pair[1].made))
    return tuple(Neighbour(one.name, one.of, one.made, tuple(found)) for found, one in near[:_NEIGHBOURS])


# -- dumps ----------------------------------------------------------------------------------------------------


def _of_compilation(dump: Dump, compilation: Compilation, cache: str | os.PathLike[str] | None) -> list[Miss]:
    """The misses of the caches that key a whole model or a piece; torch's own lie behind these."""
    found: list[Miss] = []
    events = compilation.caches
    known = [event for event in events if event.kind == "vllm_key"]
    folders = _Folders(dump, known[0].factors if known else None, cache)
    if any(event.kind == "vllm_aot" and event.result == "miss" for event in events) or (
        known and not any(event.kind == "vllm_aot" for event in events)
    ):
        found += _of_vllm(compilation, folders)
    begun = compilation.started.time if compilation.started is not None else None
    for event in events:
        if event.kind not in ("cutaway_model", "cutaway_piece") or event.result not in ("miss", "refused"):
            continue
        name = "/".join(part for part in (compilation.name, event.piece) if part)
        of = f"{name} for {event.range}" if event.range else name
        found.append(_of_ours(event.kind, of, event, folders, event.time if begun is None else begun))
    return found


def _of_vllm(compilation: Compilation, folders: _Folders) -> list[Miss]:
    asked = next((event for event in compilation.caches if event.kind == "vllm_aot"), None)
    made = next((event for event in compilation.caches if event.kind == "vllm_key"), None)
    causes = _causes(asked.factors if asked is not None else None)
    folder = folders.vllm
    entries = folder.keys() if folder is not None else []
    if made is not None and isinstance(made.factors, Mapping):
        facts = made.factors.get("facts") or {}
        key = Key("vllm", str(made.key), made.time, made.factors, of=str(facts.get("model") or ""))
    else:
        before = asked.time if asked is not None else 0.0
        found = next((one for one in entries if one.made >= before - _SLACK), None)
        if found is None:
            why = "nothing was recorded of its key, and its entry is in no cache that is known; give that as --cache"
            return [Miss("vllm_aot", (compilation.name,), str(asked.key if asked else ""), why, causes)]
        key = replace(found, made=before)
    own = next((one for one in entries if one.name == key.name), None)
    if own is not None:
        key = replace(key, sources=own.sources, factors={**own.factors, **key.factors})
    at = asked.time if asked is not None else key.made
    earlier = [
        one for one in entries if one.name != key.name and one.made <= at + _SLACK and _tag(one) == compilation.name
    ]
    same = (made is not None and made.result == "hit") or (own is not None and own.made < at - _SLACK)
    nearest = () if causes or same else _neighbours(key, earlier)
    reason = _reason(asked, causes, same, folder, bool(nearest))
    return [Miss("vllm_aot" if asked is not None else "vllm", (compilation.name,), key.name, reason, causes, nearest)]


def _tag(key: Key) -> str:
    return key.part.rpartition("/")[2]


def _reason(asked: Any, causes: Sequence[Difference], same: bool, folder: Folder | None, near: bool) -> str:
    known = asked.factors if asked is not None and isinstance(asked.factors, Mapping) else {}
    if causes:
        return "the key is the same, and an artifact was there: vLLM refused it, because the traced files have changed"
    if same:
        there = known.get("artifact") == "cannot be loaded"
        what = "cannot be loaded" if there else "is not there, or is another's"
        return f"the key is the same as that of an entry in the cache, whose artifact {what}"
    if near:
        return ""
    if folder is None:
        return "the cache that was asked is not there any more; give it as --cache"
    return f"the cache {folder.root} held nothing of this part before: it was the first compile into it"


def _causes(factors: Any) -> tuple[Difference, ...]:
    """What vLLM's own check of the traced files found."""
    files = factors.get("files") if isinstance(factors, Mapping) else None
    if not isinstance(files, Mapping):
        return ()
    return tuple(
        Difference(kind, factor, None, None, words)
        for path, places in files.items()
        for kind, factor, words in edited(str(path), places)
    )


def _of_ours(kind: str, of: str, event: Any, folders: _Folders, begun: float) -> Miss:
    """Held against what was there when the compile began: what it stored itself is no reason for anything."""
    factors = event.factors if isinstance(event.factors, Mapping) else {}
    name = str(event.key or "")
    if event.result == "refused":
        return Miss(kind, (of,), name, f"an entry was there, and was refused: {factors.get('reason')}")
    if "changed" in factors:
        lines: Mapping[str, Any] = factors.get("files") or {}
        causes = [
            Difference(one_kind, factor, None, None, words)
            for module in factors["changed"]
            for one_kind, factor, words in (
                edited(lines[module]["path"], lines[module]["places"]) if module in lines else _of_module(module)
            )
        ]
        why = "the key is the same, and an entry was there: what it was compiled from has changed"
        return Miss(kind, (of,), name, why, tuple(causes))
    folder = folders.ours
    if folder is None:
        return Miss(kind, (of,), name, "the cache that was asked is not there any more; give it as --cache")
    key = Key("cutaway", name, event.time, factors, part="model" if kind == "cutaway_model" else "piece")
    own = next((one for one in folders.own_keys() if one.name == name), None)
    if own is not None:  # it was stored after this miss, with the texts that were traced
        key = replace(own, made=event.time)
    entries = [one for one in folders.own_keys() if one.part == key.part and one.made <= begun and one.name != name]
    nearest = _neighbours(key, entries)
    first = "" if nearest else f"the cache {folder.root} held no {key.part} before: it was the first compile into it"
    return Miss(kind, (of,), name, first, nearest=nearest)


def _of_module(name: str) -> list[tuple[str, str, str]]:
    if name.startswith("op "):
        return [("other", name, f"{name}: its priority, or one of its implementations, is another")]
    if "G['" in name or "L['" in name:
        return [("other", name, f"{name}: a global, or a value on the model, is not what was compiled in")]
    return [("source", name, f"{name} changed since: a traced module")]


class _Folders:
    """The caches that a run asked, as far as they are still there."""

    def __init__(self, dump: Dump, factors: Any, cache: str | os.PathLike[str] | None) -> None:
        context = dump.context
        self.environment: Mapping[str, Any] = context.get("environment") or {}
        self.configuration: Mapping[str, Any] = context.get("configuration") or {}
        self.facts: Mapping[str, Any] = (factors.get("facts") or {}) if isinstance(factors, Mapping) else {}
        self.given = open_folder(Path(cache)) if cache is not None else None
        self._own: list[Key] | None = None

    @property
    def vllm(self) -> Folder | None:
        return self._at("vllm", self.facts.get("folder"), self.environment.get("VLLM_CACHE_ROOT"), _home("vllm"))

    @property
    def ours(self) -> Folder | None:
        named: Any = self.configuration.get("compilation") or {}
        known = named.get("cache_dir")
        return self._at("cutaway", known, self.environment.get("CUTAWAY_CACHE_ROOT"), _home("cutaway"))

    def own_keys(self) -> list[Key]:
        """The keys of our cache, read once."""
        if self._own is None:
            self._own = self.ours.keys() if self.ours is not None else []
        return self._own

    def _at(self, kind: str, *places: Any) -> Folder | None:
        if self.given is not None:
            return self.given if self.given.kind == kind else None
        found = next((Path(str(one)) for one in places if one), None)
        known = folder_at(found) if found is not None and found.is_dir() else None
        return known if known is not None and known.kind == kind else None


def _home(name: str) -> str:
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name)


def _folded(misses: Sequence[Miss]) -> list[Miss]:
    """Misses of one cache for one and the same reason as one."""
    found: dict[Any, Miss] = {}
    for miss in misses:
        same = (miss.cache, miss.reason, miss.words)
        known = found.get(same) if miss.words or miss.reason else None
        found[same] = replace(known, of=(*known.of, *miss.of)) if known is not None else miss
    return list(found.values())
