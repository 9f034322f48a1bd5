"""What Inductor makes of a graph: code that was generated just now, or that a cache served; its kernels, its inputs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from cutaway import torch_internals
from cutaway.record import output_code
from cutaway.record.compilation import Scope
from cutaway.record.context import where
from cutaway.record.hooks.trace import Payload, RecordHandler
from cutaway.record.inputs import InputSaver
from cutaway.record.kept.keep import keep_artifact
from cutaway.record.kept.loading import Loads
from cutaway.record.kept.place import Place, in_inductors_cache
from cutaway.record.kept.read_back import note_missing, read_artifact
from cutaway.record.output_code import Generated
from cutaway.record.recorder import Recorder

CodeHandler = Callable[[Generated], bool]

_CACHED_GRAPHS = ("aot_joint_graph", "aot_forward_graph", "aot_inference_graph", "aot_backward_graph")


class Artifacts:
    """The artifacts of one recording.

    Attributes:
        sink: takes code that is loaded where nobody knows yet whose it is; True when it took it. A host's.
        records: handlers of the structured trace's records that belong to an artifact.
    """

    def __init__(self, recorder: Recorder, loads: Loads) -> None:
        self.recorder = recorder
        self.loads = loads
        self.sink: CodeHandler | None = None
        self.records: dict[str, RecordHandler] = {
            name: functools.partial(self._cached_graph, name) for name in _CACHED_GRAPHS
        }
        limit = recorder.settings.save_inputs
        self._inputs = InputSaver(recorder, limit) if limit is not None else None
        self._graph_texts = threading.local()  # of what AOTAutograd's cache serves on this thread

    def stop(self) -> None:
        """Give back every function that waits for its first inputs."""
        if self._inputs is not None:
            self._inputs.stop()

    # -- what torch tells -------------------------------------------------------------------------------

    def kernel(self, node_schedule: Any, kernel_name: str, is_extern: bool = False) -> None:
        """A kernel is called in the code that is being generated."""
        calls = self.recorder.scope().kernels.setdefault(kernel_name, [])
        calls.append(torch_internals.kernel_nodes(node_schedule, is_extern))

    def _cached_graph(self, name: str, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        text = torch_internals.text_of_cached_graph(payload_fn)
        if text is not None:
            vars(self._graph_texts)["backward" if name == "aot_backward_graph" else "forward"] = text

    def compiled(self, graph: Any, is_backward: bool) -> None:
        """An artifact is ready: it was compiled, or loaded."""
        found = torch_internals.artifact_facts(graph)
        if not found.source:
            return
        aot_graph = vars(self._graph_texts).pop("backward" if is_backward else "forward", None)
        generated = Generated(found.source, found.post_grad, aot_graph, found.key, graph)
        if self.sink is not None and self.sink(generated):
            return
        load = self.loads.current
        if load is None:
            self._generated(generated, is_backward, found.is_inference)
        else:
            self.watch_inputs(generated)
            load.codes.append(generated)
            load.later(lambda: self._generated(generated, is_backward, found.is_inference))

    # -- what is recorded of it -------------------------------------------------------------------------

    def _generated(self, generated: Generated, backward: bool, is_inference: bool | None) -> None:
        scope = self.recorder.scope()
        cached = not scope.generating
        if backward:
            scope.phase = "backward"
        elif cached and is_inference is not None:  # AOTAutograd, on a miss of its own, has last told of the backward
            scope.phase = "inference" if is_inference else "forward"
        scope.generating = False
        if self.loads.current is None:
            self.watch_inputs(generated, scope)
        key = generated.key or (torch_internals.aot_key_of_load() if cached else scope.aot_key)
        place = in_inductors_cache(key, backward)
        if cached:
            self._served(scope, generated, place)
            return
        self.write(scope, generated, cached)
        if place is not None:
            keep_artifact(self.recorder, self.recorder.current(), scope, place)

    def _served(self, scope: Scope, generated: Generated, place: Place | None) -> None:
        """A cache has served an artifact: what was kept of it, or else what it holds itself."""
        recorder = self.recorder
        if recorder.stored.has_artifact(scope.selector, scope.phase, generated.digest):
            return
        places = [found for found in (where().kept, place) if found is not None]
        reason = read_artifact(recorder, recorder.current(), scope, generated, places)
        if reason is not None:
            self.write(scope, generated, cached=True)
            note_missing(recorder, reason)

    def watch_inputs(self, generated: Generated, scope: Scope | None = None) -> None:
        """Keep an artifact's real inputs at its first call, when the recording wants them; it belongs to this place."""
        if self._inputs is not None and generated.graph is not None:
            self._inputs.watch(generated.graph, torch_internals.phase_of_artifact(generated.graph), scope)

    def write(self, scope: Scope, generated: Generated, cached: bool) -> None:
        """Record Inductor's code of the scope on this thread; out of a cache, the texts of its graphs too."""
        recorder = self.recorder
        if recorder.stored.has_artifact(scope.selector, scope.phase, generated.digest):
            return
        recorder.stored.keep_artifact(scope.selector, scope.phase, generated.digest)
        kernels, scope.kernels = output_code.calls(scope.kernels), {}
        recorder.code(
            "output_code",
            generated.source,
            leaf="output_code",
            file="90.output_code.py",
            cached=cached,
            kernels=kernels,
            cache_key=generated.key,
        )
        for name, (suffix, text) in output_code.kernels(generated.source).items():
            calls = {name: output_code.nodes_of(name, kernels)}
            file = f"90.kernels/{name}.{suffix}"
            recorder.code("kernel", text, leaf=f"kernels/{name}", file=file, cached=cached, kernels=calls)
        if not cached:
            return
        texts = {
            "aot_graph_text": (generated.aot_graph, "88.aot_graph.txt"),
            "post_grad_text": (generated.post_grad, "89.post_grad.txt"),
        }
        for kind, (text, file) in texts.items():
            if text:
                recorder.code(kind, text, leaf=kind, file=file, cached=True)
