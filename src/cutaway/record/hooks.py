"""Where torch lets us look, and what each place tells the recorder.

    trace_structured          names of stages and, exactly, the graph each is about; caches, guards, metrics
    lazy_format_graph_code    the live graph at Dynamo, AOTAutograd, the last graph; passes of the engine
    GraphTransformObserver    before and after every named pass of Inductor
    CompiledFxGraph           the generated code, on a cache miss and on a hit
    kernel provenance         which nodes a kernel was made of

Nothing is patched unless a recording is on, and a module that the program has not imported is not imported for it:
hooks into Inductor are put in when the first event from it arrives. Handlers only read.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.record import output_code
from cutaway.record.compilation import Scope
from cutaway.record.context import where
from cutaway.record.inputs import InputSaver
from cutaway.record.kept.keep import keep_artifact
from cutaway.record.kept.loading import Loading
from cutaway.record.kept.place import Place, in_inductors_cache
from cutaway.record.kept.read_back import note_missing, read_artifact
from cutaway.record.origins import Frozen, freeze, same
from cutaway.record.output_code import Generated
from cutaway.record.recorder import PassRun, Recorder

Payload = Callable[[], Any]
RecordHandler = Callable[[Mapping[str, Any], Payload], None]
GraphHandler = Callable[[str, fx.GraphModule], bool]
CodeHandler = Callable[[Generated], bool]

_LOGGED_GRAPHS = {"BEFORE PRE GRAD": "before_pre_grad", "AFTER POST GRAD": "post_grad"}
_AOT_GRAPHS = {"Joint graph": "aot_joint", "Forward graph": "aot_forward", "Backward graph": "aot_backward"}
_TRACED_GRAPHS = {
    "after_pre_grad_graph": "after_pre_grad",
    "before_joint_graph": "before_joint",
    "after_joint_graph": "after_joint",
    "before_post_grad_graph": "before_post_grad",
}
_CACHES = {
    f"{prefix}_{result}": (kind, result)
    for prefix, kind in (
        ("fx_graph_cache", "fx_graph"),
        ("fx_graph_bundled_cache", "fx_graph"),
        ("aotautograd_cache", "aot_autograd"),
    )
    for result in ("hit", "miss", "bypass")
}
_CACHED_GRAPHS = ("aot_joint_graph", "aot_forward_graph", "aot_inference_graph", "aot_backward_graph")
_LONGEST_VALUE = 400  # torch puts its whole configuration beside the times: 30 KB a compile
_PARTS = {"before_pre_grad": "pre_grad", "before_joint": "joint", "before_post_grad": "post_grad"}


@dataclass
class _OpenPass:
    gm: fx.GraphModule
    before: Frozen
    entered: float
    host: bool
    stop_listening: Callable[[], None]
    holds_passes: bool = False


class Hooks:
    """The hooks of one recording.

    Attributes:
        records: further handlers of structured-trace records and artifacts, by name (the host's).
        graphs: further handlers of logged graphs; the first that returns True has handled it.
        sink: takes code that is loaded where nobody knows yet whose it is; True when it took it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.records: dict[str, RecordHandler] = {
            "recompile_reasons": self._recompile_reasons,
            "dynamo_graph_break_reason": self._graph_break,
            "dynamo_cpp_guards_str": self._guards,
            "compilation_metrics": self._metrics,
            "bwd_compilation_metrics": self._metrics,
            **{name: functools.partial(self._cached_graph, name) for name in _CACHED_GRAPHS},
        }
        self.graphs: list[GraphHandler] = []
        self.sink: CodeHandler | None = None
        limit = recorder.settings.save_inputs
        self.inputs = InputSaver(recorder, limit) if limit is not None else None
        self._undo: list[Callable[[], None]] = []
        self._late: dict[str, Callable[[], Callable[[], None] | None]] = {}
        self._open_passes = threading.local()
        self._graph_texts = threading.local()  # of what AOTAutograd's cache serves on this thread
        self._loads = threading.local()
        self._breaks: dict[str | None, list[str]] = {}

    # -- install and remove -----------------------------------------------------------------------------

    def install(self) -> None:
        """Put the hooks in; those into modules that are not loaded yet follow when they are."""
        guarded = self.recorder.guarded
        self._traced, self._logged = guarded(self._on_trace), guarded(self._on_logged_graph)
        self._entered, self._left = guarded(self._on_pass_enter), guarded(self._on_pass_exit)
        self._compiled, self._kernel = guarded(self._on_compiled), guarded(self._on_kernel)
        self._installed_late = guarded(self._install_late)
        swap = torch_internals.swap_code
        for place, put_in in {
            "print_readable": torch_internals.capture_print_readable,
            "trace_structured": lambda: swap(torch_internals.trace_structured(), self._trace_shim),
            "lazy_format_graph_code": lambda: swap(torch_internals.lazy_format_graph_code(), self._log_shim),
        }.items():
            try:
                self._undo.append(put_in())
            except AttributeError as error:  # this torch does not have it
                self.recorder.failed(f"putting in the hook {place}", error)
        self._late = {
            "passes": self._install_passes,
            "compiled": self._install_compiled,
            "kernels": self._install_kernels,
        }
        self._installed_late()

    def remove(self) -> None:
        """Take every hook out, in reverse order."""
        self._late.clear()
        if self.inputs is not None:
            self.inputs.stop()
        while self._undo:
            self._undo.pop()()

    @property
    def load(self) -> Loading | None:
        """The whole model that is being loaded on this thread."""
        return getattr(self._loads, "load", None)

    @contextmanager
    def loading(self) -> Generator[Loading]:
        """Within the block, a cache may serve a whole model; if it does, say so with ``Loading.tell``."""
        self._loads.load = load = Loading()
        try:
            yield load
        finally:
            self._loads.load = None

    def _install_late(self) -> None:
        for name, install in list(self._late.items()):
            del self._late[name]  # one that fails is not tried again
            undo = install()
            if undo is not None:
                self._undo.append(undo)
            else:  # not loaded yet
                self._late[name] = install

    def _install_passes(self) -> Callable[[], None] | None:
        owner = torch_internals.graph_transform_observer()
        if owner is None:
            return None

        def enter(original: Callable[..., Any]) -> Callable[..., Any]:
            def entered(observer: Any) -> Any:
                result = original(observer)
                self._entered(observer.gm)
                return result

            return entered

        def leave(original: Callable[..., Any]) -> Callable[..., Any]:
            def left(observer: Any, *error: Any) -> Any:
                self._left(observer.gm, observer.passname, error[0] if error else None)
                return original(observer, *error)

            return left

        undo_enter = torch_internals.patch_method(owner, "__enter__", enter)
        undo_leave = torch_internals.patch_method(owner, "__exit__", leave)
        return lambda: (undo_leave(), undo_enter())[0]

    def _install_compiled(self) -> Callable[[], None] | None:
        owner = torch_internals.compiled_fx_graph()
        if owner is None:
            return None

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def post_compile(graph: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(graph, *args, **kwargs)
                options = args[2] if len(args) > 2 else kwargs.get("graph_kwargs", {})
                self._compiled(graph, options)
                return result

            return post_compile

        return torch_internals.patch_method(owner, "post_compile", make)

    def _install_kernels(self) -> Callable[[], None] | None:
        function = torch_internals.kernel_provenance()
        return torch_internals.swap_code(function, self._kernel_shim) if function else None

    # -- shims: the watched call always happens, with what it returned ----------------------------------

    def _trace_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._late:
            self._installed_late()
        name = args[0] if args else kwargs.get("name")
        if name == "artifact" or name == "graph_dump" or name in self.records:
            metadata = args[1] if len(args) > 1 else kwargs.get("metadata_fn", dict)
            self._traced(name, metadata, kwargs.get("payload_fn", lambda: None))
        return original(*args, **kwargs)

    def _log_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) > 1:
            self._logged(args[0], args[1])
        return original(*args, **kwargs)

    def _kernel_shim(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._kernel(*args, **kwargs)
        return original(*args, **kwargs)

    # -- graphs -----------------------------------------------------------------------------------------

    def _on_logged_graph(self, name: str, gm: fx.GraphModule) -> None:
        if any(handler(name, gm) for handler in self.graphs):
            return
        if name.startswith("__compiled_fn_"):
            self._captured(gm)
        elif name in _LOGGED_GRAPHS:
            self._stage(_LOGGED_GRAPHS[name], gm)
        elif name in _AOT_GRAPHS:
            self._aot(_AOT_GRAPHS[name], gm)

    def _captured(self, gm: fx.GraphModule) -> None:
        found = torch_internals.captured_function()
        code, arguments = found or (None, {})
        compilation = self.recorder.begin(code, arguments, gm)
        self.recorder.graph("captured", gm)
        breaks = self._breaks.pop(compilation.compile_id, [])
        reason = torch_internals.graph_break_of(gm)
        for text in breaks or ([reason] if reason else []):
            self.recorder.metric("graph_break", {"reason": text.strip()}, compilation)

    def _aot(self, stage: str, gm: fx.GraphModule) -> None:
        scope = self.recorder.scope()
        scope.graph_module = gm
        training = "joint" in scope.tracks
        phases = {"aot_joint": "joint", "aot_backward": "backward"}
        scope.phase = phases.get(stage, "forward" if training else "inference")
        scope.part = "joint"
        self.recorder.graph(stage, gm)

    def _stage(self, stage: str, gm: fx.GraphModule) -> None:
        scope = self.recorder.next_graph() if stage == "before_pre_grad" else self.recorder.scope()
        scope.graph_module = gm
        if stage in _PARTS:
            scope.part = _PARTS[stage]
            scope.pass_numbers.clear()
        if stage == "before_pre_grad":
            scope.phase = None
            scope.tracks = {key: track for key, track in scope.tracks.items() if key is None}
        if stage == "before_post_grad":
            found = torch_internals.caller(lambda names: "is_backward" in names and "is_inference" in names)
            if found is not None:
                training = "forward" if not found["is_inference"] else "inference"
                scope.phase = "backward" if found["is_backward"] else training
        scope.generating = stage == "post_grad"
        self.recorder.graph(stage, gm)

    # -- structured trace -------------------------------------------------------------------------------

    def _on_trace(self, name: str, metadata_fn: Callable[[], Any], payload_fn: Payload) -> None:
        metadata = metadata_fn()
        if name in ("artifact", "graph_dump"):
            name = metadata.get("name", "")
        if name in _TRACED_GRAPHS:
            gm = torch_internals.graph_of_payload(payload_fn)
            if gm is not None:
                self._stage(_TRACED_GRAPHS[name], gm)
        elif name in _CACHES:
            self._cache(*_CACHES[name], payload_fn)
        elif name in self.records:
            self.records[name](metadata, payload_fn)

    def _cache(self, kind: str, result: str, payload_fn: Payload) -> None:
        facts = payload_fn()
        facts = json.loads(facts) if isinstance(facts, str) else facts or {}
        lines = facts.get("components") or []
        factors: Any = [str(line)[:400] for line in lines] or None
        if facts.get("cache_bypass_reason"):
            factors = {"bypass_reason": facts["cache_bypass_reason"]}
        if kind == "aot_autograd" and result != "hit" and self.recorder.known() is not None:
            self.recorder.scope().aot_key = facts.get("key")
        self.recorder.cache(kind, result, facts.get("key"), factors)

    def _recompile_reasons(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        reasons = payload_fn()
        self.recorder.pending_reasons([str(reasons)] if isinstance(reasons, str) else [str(r) for r in reasons])

    def _graph_break(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        self._breaks.setdefault(torch_internals.current_compile_id(), []).append(str(payload_fn()))

    def _guards(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        text = str(payload_fn())

        def note() -> None:
            self.recorder.current().guards_text = text

        note() if self.load is None else self.load.later(note)

    def _metrics(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        compile_id = metadata.get("compile_id") or torch_internals.current_compile_id()
        compilation = self.recorder.compiled_as(str(compile_id))
        values = {key: value for key, value in metadata.items() if isinstance(value, (int, float, str))}
        values = {key: value for key, value in values.items() if len(str(value)) <= _LONGEST_VALUE}
        for text in self._breaks.pop(str(compile_id), []):
            self.recorder.metric("graph_break", {"reason": text.strip(), "compile_id": str(compile_id)}, compilation)
        if compilation is not None:
            if metadata.get("fail_type"):
                compilation.failed = f"{metadata['fail_type']}: {metadata.get('fail_reason') or ''}".strip()
            self.recorder.metric("compile_time", values, compilation)
            self.recorder.finish(compilation)

    # -- passes -----------------------------------------------------------------------------------------

    def _passes(self) -> list[_OpenPass]:
        if not hasattr(self._open_passes, "stack"):
            self._open_passes.stack = []
        return self._open_passes.stack

    def _on_pass_enter(self, gm: fx.GraphModule, host: bool = False) -> None:
        if self.recorder.known() is None:  # a pass outside of any compile: torch prepares its patterns
            return
        started = perf_counter()
        scope = self.recorder.scope()
        stop = scope.changes_of(gm).listen() if scope.nested(gm) is None else lambda: None
        self._passes().append(_OpenPass(gm, freeze(gm.graph), started, host, stop))
        self._spent(started)

    def _on_pass_exit(self, gm: fx.GraphModule, name: str, error: type[BaseException] | None) -> None:
        *outer, this = [open_pass for open_pass in self._passes() if open_pass.gm is gm] or [None]
        machinery = any(open_pass.host for open_pass in outer if open_pass) or (outer and name == "pattern_matcher")
        if machinery or (this is not None and this.holds_passes):
            self._close(gm)  # the inside of a pass that has a name, or the frame around the engine's passes
            return
        if self.recorder.known() is None:
            return
        scope = self.recorder.scope()
        part = scope.part or "pass"
        stage = {"pre_grad": "pre_grad_pass", "joint": "joint_pass"}.get(part, "post_grad_pass")
        inside = scope.nested(gm)
        if inside is not None:
            self.end_pass(stage, gm, f"{name} in {inside}", f"inductor_{part}.{name}@{inside}", None, whole=False)
            return
        number = scope.pass_numbers["inductor"]
        scope.pass_numbers["inductor"] += 1
        self.end_pass(stage, gm, name, f"inductor_{part}.{number}.{name}", number, failed=error is not None)

    def begin_pass(self, gm: fx.GraphModule) -> None:
        """The host begins a pass on ``gm`` (its end is :meth:`end_pass`)."""
        self._on_pass_enter(gm, host=True)

    def _close(self, gm: fx.GraphModule) -> _OpenPass | None:
        """The innermost open pass on this graph; those inside it that raised never said that they ended."""
        stack = self._passes()
        while any(open_pass.gm is gm for open_pass in stack):
            closed = stack.pop()
            closed.stop_listening()
            if closed.gm is gm:
                return closed
        return None

    def end_pass(
        self,
        stage: str,
        gm: fx.GraphModule,
        name: str,
        leaf: str,
        number: int | None,
        failed: bool = False,
        providers: Mapping[str, str] | None = None,
        whole: bool = True,
        counts: Mapping[str, int] | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """A pass is over: a snapshot when it changed the graph, an event always.

        A pass on a graph inside of the graph (a branch of ``torch.cond``; ``whole`` is False) has an event only: what
        it changed shows in the next stage of the whole.
        """
        closed = self._close(gm)
        if closed is None:
            return
        if closed.host:
            for outer in self._passes():
                outer.holds_passes = True
        started = perf_counter()
        frozen = freeze(gm.graph)
        changed = not same(closed.before, frozen)
        self._spent(started)
        if failed:
            self.recorder.metric("pass_failed", {"pass": name, "changed": changed})
        run = PassRun(name, leaf, number, 1e3 * (started - closed.entered), providers, counts or {}, notes or {})
        self.recorder.ran(stage, gm, run, changed, frozen, whole)

    def _spent(self, started: float) -> None:
        self.recorder.scope().hook_seconds += perf_counter() - started

    # -- generated code ---------------------------------------------------------------------------------

    def _on_kernel(self, node_schedule: Any, kernel_name: str, is_extern: bool = False) -> None:
        calls = self.recorder.scope().kernels.setdefault(kernel_name, [])
        calls.append(torch_internals.kernel_nodes(node_schedule, is_extern))

    def _cached_graph(self, name: str, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        text = torch_internals.text_of_cached_graph(payload_fn)
        if text is not None:
            vars(self._graph_texts)["backward" if name == "aot_backward_graph" else "forward"] = text

    def _on_compiled(self, graph: Any, options: Mapping[str, Any]) -> None:
        source = getattr(graph, "source_code", None)
        if not source:
            return
        backward = bool(options.get("is_backward"))
        post_grad = getattr(graph, "inductor_post_grad_graph_str", None)
        aot_graph = vars(self._graph_texts).pop("backward" if backward else "forward", None)
        key = getattr(graph, "_fx_graph_cache_key", None)
        generated = Generated(source, post_grad, aot_graph, key, graph)
        if self.sink is not None and self.sink(generated):
            return
        made_as = getattr(graph, "fx_kwargs", None) or {}
        is_inference: bool | None = made_as.get("is_inference")
        if self.load is None:
            self._generated(generated, backward, is_inference)
        else:
            self.watch_inputs(generated)
            self.load.codes.append(generated)
            self.load.later(lambda: self._generated(generated, backward, is_inference))

    def _generated(self, generated: Generated, backward: bool, is_inference: bool | None) -> None:
        scope = self.recorder.scope()
        cached = not scope.generating
        if backward:
            scope.phase = "backward"
        elif cached and scope.phase is None and is_inference is not None:
            scope.phase = "inference" if is_inference else "forward"
        scope.generating = False
        if self.load is None:
            self.watch_inputs(generated, scope)
        key = generated.key or (torch_internals.aot_key_of_load() if cached else scope.aot_key)
        place = in_inductors_cache(key, backward)
        if cached:
            self._served(scope, generated, place)
            return
        self.write_output_code(scope, generated, cached)
        if place is not None:
            keep_artifact(self.recorder, self.recorder.current(), scope, place)

    def watch_inputs(self, generated: Generated, scope: Scope | None = None) -> None:
        """Keep an artifact's real inputs at its first call, when the recording wants them; it belongs to this place."""
        if self.inputs is not None and generated.graph is not None:
            self.inputs.watch(generated.graph, torch_internals.phase_of_artifact(generated.graph), scope)

    def _served(self, scope: Scope, generated: Generated, place: Place | None) -> None:
        """A cache has served an artifact: what was kept of it, or else what it holds itself."""
        recorder = self.recorder
        if (scope.selector, scope.phase, generated.digest) in recorder.seen_code:
            return
        places = [found for found in (where().kept, place) if found is not None]
        reason = read_artifact(recorder, recorder.current(), scope, generated, places)
        if reason is not None:
            self.write_output_code(scope, generated, cached=True)
            note_missing(recorder, reason)

    def write_output_code(self, scope: Scope, generated: Generated, cached: bool) -> None:
        """Record Inductor's code of the scope on this thread; out of a cache, the texts of its graphs too."""
        key = (scope.selector, scope.phase, generated.digest)
        recorder = self.recorder
        if key in recorder.seen_code:
            return
        recorder.seen_code.add(key)
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
            recorder.code(
                "kernel",
                text,
                leaf=f"kernels/{name}",
                file=f"90.kernels/{name}.{suffix}",
                cached=cached,
                kernels={name: output_code.nodes_of(name, kernels)},
            )
        if not cached:
            return
        if generated.aot_graph:
            recorder.code(
                "aot_graph_text", generated.aot_graph, leaf="aot_graph_text", file="88.aot_graph.txt", cached=True
            )
        if generated.post_grad:
            recorder.code(
                "post_grad_text", generated.post_grad, leaf="post_grad_text", file="89.post_grad.txt", cached=True
            )
