"""Watches the keys of vLLM's caches: what each is made of, and which file a load was refused for.

``cutaway why cache`` reads what is written here: an event ``vllm_key`` in the dump, and notes beside vLLM's own
``cache_key_factors.json``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cutaway.record.kept.notes import SUFFIX, Notes, changed_lines, write_notes
from cutaway.record.recorder import Recorder
from cutaway.record.watch import Watcher
from cutaway.vllm.key import key_notes
from cutaway.vllm.pieces import cache_root

NOTES = f"cutaway{SUFFIX}"
_FACTORS = "cache_key_factors.json"


class KeyWatch:
    """What one process of vLLM tells of its keys.

    Attributes:
        refused: why the artifact of a whole model was refused, as the event of the miss says it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.refused: dict[str, Any] = {}
        self._begun: list[tuple[Notes, set[str]]] = []

    def install(self, watcher: Watcher) -> None:
        """Watch where keys are made, and where sources are held against those that were compiled."""
        watcher.watch("vllm.compilation.backends:VllmBackend", "__call__", place=self.backend)
        watcher.replace("vllm.compilation.decorators", "_verify_source_unchanged", self.verify)

    @contextmanager
    def backend(self, backend: Any, *args: Any, **kwargs: Any) -> Generator[None]:
        """Around the compile of a model: the factors before it (vLLM forgets the traced files), its folder after it."""
        self._begun.clear()
        self.recorder.guarded(self._begin)(backend)
        yield
        if self._begun:
            self.recorder.guarded(self._end)(backend, *self._begun.pop())

    def _begin(self, backend: Any) -> None:
        config = backend.vllm_config
        root = cache_root() / "torch_compile_cache"
        known = {path.parent.parent.parent.name for path in root.glob(f"*/*/*/{_FACTORS}")}
        self._begun.append((key_notes(config, config.compilation_config.traced_files), known))

    def _end(self, backend: Any, notes: Notes, known: set[str]) -> None:
        folder = Path(backend.compilation_config.local_cache_dir)
        key = Path(backend.compilation_config.cache_dir).name
        facts = {**notes.facts, "key": key, "part": backend.prefix}
        result = "hit" if key in known else "miss"
        self.recorder.cache("vllm_key", result, key, {**notes.factors, "facts": facts})
        if (folder / _FACTORS).exists() and not (folder / NOTES).exists():
            write_notes(folder / NOTES, replace(notes, facts=facts))

    def verify(self, original: Callable[..., Any], source_info: Any, *args: Any, **kwargs: Any) -> Any:
        """vLLM holds the traced files against their texts in the artifact: say which lines have changed."""
        try:
            return original(source_info, *args, **kwargs)
        except RuntimeError as error:
            self.refused = {"reason": str(error)}
            self.recorder.guarded(self._note_changes)(source_info)
            raise

    def _note_changes(self, source_info: Any) -> None:
        self.refused["files"] = _changed(source_info)

    def why_missed(self, path: Path) -> Mapping[str, Any]:
        """What the event of a miss says: why an artifact that lies there was not used, or that none lies there."""
        refused, self.refused = self.refused, {}
        return refused or {"artifact": "cannot be loaded" if path.exists() else "is not there"}


def _changed(source_info: Any) -> dict[str, Any]:
    """Traced files that are not what they were, with the places that changed."""
    found: dict[str, Any] = {}
    for source in source_info.inlined_sources:
        file = inspect.getfile(sys.modules[source.module])
        try:
            now = Path(file).read_text()
        except (OSError, ValueError):
            found[file] = [{"line": 1, "count": 1, "old": "the file was there", "new": None}]
            continue
        if now != source.content:
            found[file] = changed_lines(source.content, now)
    return found
