"""Whole models that vLLM saves and loads again: vllm/compilation/decorators.py, its AOT artifacts.

A load says nothing before it is known that the model will be used. vLLM loads the artifacts of the pieces in threads;
what each holds is kept until it is known which piece and range it is of.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cutaway.record.compilation import Compilation
from cutaway.record.context import at, range_name
from cutaway.record.hooks import Hooks
from cutaway.record.kept.keep import keep_compilation
from cutaway.record.kept.place import Place
from cutaway.record.output_code import Generated
from cutaway.record.recorder import Recorder
from cutaway.record.watch import Watcher
from cutaway.vllm.cache import KeyWatch
from cutaway.vllm.pieces import cache_root, piece_name

_ASIDE = re.compile(r"\.\d+\.tmp$")  # vLLM writes an artifact beside its place, then renames it
_Within = Callable[[Any], AbstractContextManager[None]]


class WholeModels:
    """The whole models of one process of vLLM."""

    def __init__(self, recorder: Recorder, hooks: Hooks, keys: KeyWatch) -> None:
        self.recorder = recorder
        self.hooks = hooks
        self.keys = keys
        self._here = threading.local()  # what this thread is inside of
        self._loaded: dict[int, tuple[Any, list[Generated]]] = {}

    def install(self, watcher: Watcher, within: _Within) -> None:
        """Watch where models are saved and loaded; ``within`` is the place of a model's compile."""
        self._within = within
        self.hooks.artifacts.sink = self._keep_code
        loads = "vllm.compilation.caching:StandaloneCompiledArtifacts"
        watcher.watch("vllm.compilation.decorators", "_try_load_aot_compiled_fn", place=self.loading, after=self.loaded)
        watcher.watch("torch._dynamo.aot_compile:AOTCompiledFunction", "save_compiled_function", after=self.saved)
        watcher.watch(loads, "load_all", after=self.pieces_loaded)
        watcher.replace("torch._inductor.standalone_compile:AOTCompiledArtifact", "deserialize", self.load_artifact)

    @property
    def finished(self) -> Compilation | None:
        """The compilation on this thread that has just ended, and is saved next."""
        return getattr(self._here, "finished", None)

    @finished.setter
    def finished(self, compilation: Compilation | None) -> None:
        self._here.finished = compilation

    def saved(self, result: Any, function: Any, path: str, *args: Any, **kwargs: Any) -> None:
        """A model was compiled and its artifact written: keep beside it what was recorded."""
        compilation, self.finished = self.finished, None
        if compilation is None:
            return
        entry = Path(_ASIDE.sub("", path))
        place = Place.beside(entry, cache_root())
        with at(compilation=compilation.name):
            keep_compilation(self.recorder, compilation, replace(place, entry=Path(path)))

    @contextmanager
    def loading(self, model: Any, path: str, *args: Any, **kwargs: Any) -> Generator[None]:
        """Within the load of a model that vLLM may have as an artifact."""
        self._here.path = path
        try:
            with self._within(model), self.hooks.loads.loading():
                yield
        finally:
            self._loaded.clear()
            self.finished = None  # nothing of it will be stored

    def loaded(self, result: Any, model: Any, path: str, *args: Any, **kwargs: Any) -> None:
        """A load is over; ``result`` is None when the model must be compiled."""
        key = Path(path).parent.parent.name
        if result is None:
            self.recorder.cache("vllm_aot", "miss", key, self.keys.why_missed(Path(path)))
            return
        self.recorder.cache("vllm_aot", "hit", key)
        self.is_read_back()

    def is_read_back(self) -> bool:
        """Whether the model that is being loaded is recorded already (it is split anew, from the artifact's graph)."""
        load = self.hooks.loads.current
        if load is not None:
            load.tell(self.recorder, Place.beside(Path(self._here.path), cache_root()))
        return load is not None and load.is_read_back

    # -- the artifacts of its pieces --------------------------------------------------------------------

    def load_artifact(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """One artifact is loaded, in a thread of its own."""
        self._here.codes = codes = []
        try:
            artifact = original(*args, **kwargs)
        finally:
            self._here.codes = None
        self._loaded[id(artifact)] = (artifact, codes)
        return artifact

    def _keep_code(self, generated: Generated) -> bool:
        codes: list[Generated] | None = getattr(self._here, "codes", None)
        if codes is not None:
            codes.append(generated)
        return codes is not None

    def pieces_loaded(self, result: Any, artifacts: Any) -> None:
        """All pieces and ranges of a model were loaded."""
        load = self.hooks.loads.current
        for name, digest in artifacts.submodule_bytes.items():
            submodule, _, shape = name.rpartition("_")
            start, end = (*re.findall(r"\d+", shape), "0", "0")[:2]
            artifact = artifacts.get_loaded(submodule, shape)
            _, codes = self._loaded.get(id(artifact), (None, []))
            with at(piece=piece_name(submodule), range=range_name(int(start), int(end))):
                self.recorder.cache("vllm_piece", "load", digest)
                for generated in codes:
                    self.hooks.artifacts.watch_inputs(generated)
                    if load is not None:
                        load.codes.append(generated)
                    self.hooks.loads.when_used(partial(self._write, generated))

    def _write(self, generated: Generated) -> None:
        """The code of an artifact, for the piece and range on this thread."""
        self.hooks.artifacts.write(self.recorder.scope(), generated, cached=True)
