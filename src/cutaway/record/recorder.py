"""Turns what the hooks see into events and files.

The hooks call :meth:`Recorder.graph`, :meth:`Recorder.ran`, :meth:`Recorder.code`, :meth:`Recorder.cache` and
:meth:`Recorder.metric`; each finds out where in the compile it is (``context.where``), writes what is new and
appends one line to the manifest. Nothing here raises into the compile: the hooks are wrapped by
:meth:`Recorder.guarded`.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from types import CodeType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record import output_code, pages, sizes, texts
from cutaway.record.compilation import Compilation, Scope, Track, remember, safe_name, safe_path
from cutaway.record.context import Host, Where, where
from cutaway.record.environment import describe_run, masked_command, versions
from cutaway.record.filters import Filters
from cutaway.record.fingerprint import fingerprint
from cutaway.record.nodes import Table, TableBuilder, coverage, layers_of, op_counts, ops_delta
from cutaway.record.origins import Origin, find_origins, freeze, same
from cutaway.record.runnable import Runnable
from cutaway.record.writer import DumpWriter, claim_folder, claim_run

SCHEMA = 1
_PARTS = ("piece", "after_split")  # not the graph before, changed, but parts of it


@dataclass(frozen=True)
class Settings:
    """What a recording was asked for.

    Attributes:
        path: the dump's root folder.
        filters: which part to record.
        max_bytes: stop writing files once they add up to this many bytes; None for no limit.
        share_run: join the run of the process that started this one (``CUTAWAY_DUMP``, vLLM's processes).
    """

    path: Path
    filters: Filters = field(default_factory=Filters)
    max_bytes: int | None = None
    share_run: bool = False


class Recorder:
    """Records the compiles of this process. Made by ``cutaway.record``; see there for what a user may ask."""

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self.host = host or Host()
        self.disabled = False
        self._lock = threading.RLock()
        self._pending = threading.local()
        self._reset()

    def _reset(self) -> None:
        self.writer: DumpWriter | None = None
        self.compilations: dict[str, Compilation] = {}
        self._by_compile_id: dict[str, Compilation] = {}
        self._stored: dict[str, str] = {}
        self._stored_code: dict[str, str] = {}
        self._selectors: dict[str, int] = {}
        self._piece_fingerprints: dict[int, tuple[fx.GraphModule, str]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._builder = TableBuilder(self.host.library_files)

    def join(self, host: Host) -> None:
        """Ask ``host`` from now on what torch does not know."""
        self.host = host
        self._builder.library_files = host.library_files

    # -- never end the run ------------------------------------------------------------------------------

    def guarded(self, function: Callable[..., Any]) -> Callable[..., None]:
        """``function`` made safe to call from a compile: what it raises becomes an ``error`` event and a warning."""

        @functools.wraps(function)
        def safe(*args: Any, **kwargs: Any) -> None:
            if self.disabled:
                return
            collecting = gc.isenabled()
            gc.disable()  # a collection of the watched program's whole heap costs more than a hook
            try:
                with self._lock:
                    function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  (the one place where everything is caught)
                self.failed(getattr(function, "__name__", "hook"), error)
            finally:
                if collecting:
                    gc.enable()

        return safe

    def failed(self, at: str, error: Exception) -> None:
        """Note that recording failed somewhere; the compile goes on. A refusing disk ends the recording."""
        refused = isinstance(error, OSError)
        warnings.warn(
            f"cutaway: recording failed in {at}: {type(error).__name__}: {error}. The compile is not affected; "
            + ("nothing more will be recorded." if refused else f"the dump in {self.settings.path} lacks this part."),
            RuntimeWarning,
            stacklevel=2,
        )
        with suppress(Exception):
            compilation = self._current()
            self.event(
                "error",
                compilation=compilation.name if compilation else None,
                where=at,
                error=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
            )
        self.disabled = refused or self.disabled

    # -- files and events -------------------------------------------------------------------------------

    def open(self) -> DumpWriter:
        """The process folder, made when there is first something to say. Raises OSError."""
        if self.writer is None:
            root = self.settings.path.absolute()
            run = claim_run(root, self.settings.share_run)
            rank, dp_rank = self.host.ranks()
            name = f"rank_{rank}_dp_{dp_rank}"
            self.writer = DumpWriter(claim_folder(run, name, name + ".{}"), self.settings.max_bytes)
            self.writer.event(
                "run",
                compilation=None,
                schema=SCHEMA,
                **{name: text for name, text in versions().items() if name in ("cutaway", "torch", "python")},
                pid=os.getpid(),
                rank=rank,
                dp_rank=dp_rank,
                argv=masked_command(sys.argv),
                context="context.json",
            )
            self.writer.write("context", "context.json", texts.as_json(self._describe()), announce=False)
            pages.write_readme(root)
        return self.writer

    def _describe(self) -> dict[str, Any]:
        try:
            return describe_run(self.host.configuration())
        except Exception as error:  # noqa: BLE001  (a host's configuration that cannot be read must not cost the rest)
            return describe_run({"error": f"{type(error).__name__}: {error}"})

    def event(self, event: str, **facts: Any) -> None:
        self.open().event(event, **facts)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's files alone and begin a folder of its own."""
        self._lock = threading.RLock()
        self._reset()

    # -- what is being compiled -------------------------------------------------------------------------

    def pending_reasons(self, reasons: list[str]) -> None:
        """Keep the reasons of a recompile until the function is captured (torch tells them before)."""
        self._pending.reasons = reasons

    def begin(self, code: CodeType | None, arguments: Mapping[str, Any], gm: fx.GraphModule | None) -> Compilation:
        """A function was captured: make its compilation and say so."""
        place = where()
        owner = arguments.get("self")
        compile_id = torch_internals.current_compile_id()
        function = code.co_qualname if code else place.compilation or "unnamed"
        if isinstance(owner, torch.nn.Module) and function.startswith("Module."):
            function = f"{type(owner).__name__}.forward"
        compilation = self._new_compilation(place.compilation or function, function, compile_id)
        compilation.file = code.co_filename if code else None
        compilation.line = code.co_firstlineno if code else None
        compilation.root_class = type(owner).__name__ if isinstance(owner, torch.nn.Module) else None
        compilation.model = place.model or compilation.root_class
        compilation.shape_env = torch_internals.shape_env_of(gm) if gm is not None else None
        if compilation.recompile:
            compilation.reasons = tuple(getattr(self._pending, "reasons", None) or ())
        self._pending.reasons = None
        if self.settings.filters.accept_function(compilation.name, function):
            self.event(
                "compilation",
                compilation=compilation.name,
                function=function,
                file=compilation.file,
                line=compilation.line,
                model=compilation.model,
                compile_id=compile_id,
                recompile=compilation.recompile,
                reason=list(compilation.reasons),
                folder=compilation.root.folder,
            )
        return compilation

    def _new_compilation(self, wanted: str, function: str, compile_id: str | None) -> Compilation:
        frame, _, attempt = (compile_id or "").partition("/")
        recompile = int(attempt) if attempt.isdigit() else 0
        base = safe_name(wanted)
        name, number = (base, 1) if not recompile else (f"{base}.{recompile + 1}", 1)
        first = name
        while name in self.compilations:
            number += 1
            name = f"{first}~{number}"
        compilation = Compilation(name, function, compile_id=compile_id, recompile=recompile)
        self.compilations[name] = compilation
        if compile_id is not None:
            self._by_compile_id[compile_id] = compilation
        return compilation

    def compiled_as(self, compile_id: str) -> Compilation | None:
        """The compilation that Dynamo knows by this id."""
        return self._by_compile_id.get(compile_id)

    def known(self) -> Compilation | None:
        """The compilation on this thread, if one has begun."""
        return self._current()

    def _current(self) -> Compilation | None:
        compile_id = torch_internals.current_compile_id()
        if compile_id is not None and compile_id in self._by_compile_id:
            return self._by_compile_id[compile_id]
        name = where().compilation
        return self.compilations.get(safe_name(name)) if name else None

    def current(self, gm: fx.GraphModule | None = None) -> Compilation:
        """The compilation on this thread; one is made when Inductor was called without Dynamo."""
        compilation = self._current()
        if compilation is not None:
            return compilation
        return self.begin(None, {}, gm)

    def _accepts(self, compilation: Compilation, stage: str, pass_name: str | None, place: Where) -> bool:
        filters = self.settings.filters
        return filters.accept_function(compilation.name, compilation.function) and filters.accept(
            stage, pass_name, place.piece
        )

    def scope(self) -> Scope:
        """The scope on this thread."""
        place = where()
        return self.current().scope(place.piece, place.range)

    # -- graphs -----------------------------------------------------------------------------------------

    def graph(
        self,
        stage: str,
        gm: fx.GraphModule,
        *,
        pass_name: str | None = None,
        number: int | None = None,
        leaf: str | None = None,
        ms: float | None = None,
        origins: dict[fx.Node, Origin] | None = None,
        providers: Mapping[str, str] | None = None,
        table: tuple[Table, str] | None = None,
        cached: bool = False,
    ) -> str | None:
        """Record a graph at a stage; returns its fingerprint, or None when the filters leave it out.

        Args:
            stage: a name from ``cutaway.stages``.
            gm: the graph as it is now; only read.
            pass_name, number, ms: for a stage after a pass: its name, number and duration in milliseconds.
            leaf: the last part of the selector when it is not the stage's name.
            origins: where the nodes come from, when the caller knows better than the previous snapshot tells.
            providers: which provider each lowered node took, when the caller knows.
            table: the graph's node table and fingerprint, when the caller has made them already.
        """
        place = where()
        compilation = self.current(gm)
        if not self._accepts(compilation, stage, pass_name, place):
            return None
        started = perf_counter()
        scope = compilation.scope(place.piece, place.range)
        phase = "split" if stage == "after_split" else scope.phase
        previous = scope.previous(phase)
        if previous is not None and origins is None and same(previous.remembered.frozen, freeze(gm.graph)):
            self._again(compilation, scope, gm, previous, stage, leaf or stage, place, started)
            return previous.fingerprint
        if origins is None:
            origins = find_origins(gm, previous.remembered if previous else None)
        looked = perf_counter()
        scope.hook_seconds += looked - started

        if table is None:
            made = self.table(gm, origins, captured=stage == "captured")
            table = made, fingerprint(made)
        table, graph = table
        counts = op_counts(table)
        selector = self._selector(scope, leaf or stage)
        facts: dict[str, Any] = {
            "selector": selector,
            "stage": stage,
            "phase": None if phase == "split" else phase,
            "pass": pass_name,
            "number": number,
            "piece": place.piece,
            "range": place.range,
            "graph": graph,
            "changed": previous is not None and stage != "piece" and previous.fingerprint != graph,
            "nodes": len(table["nodes"]),
            "ops_delta": ops_delta(previous.counts, counts) if previous and stage not in _PARTS else {},
            "ms": None if ms is None else round(ms, 3),
            "files": [],
            "same_as": self._stored.get(graph),
            "layers": layers_of(table),
            "donated_inputs": self.host.donated_inputs(),
            "providers": dict(providers) if providers is not None else self._providers(gm),
            "cached": cached,
            "coverage": coverage(table),
        }
        if graph in self._stored:
            if stage == "piece":
                facts["from"] = [row.get("from") for row in table["nodes"]]
        else:
            self._store(compilation, scope, gm, table, facts)
        scope.tracks[phase] = remember(gm, table, graph, counts, facts)
        scope.snapshots += 1
        self._row(compilation, scope, "snapshot", facts)
        scope.render_seconds += perf_counter() - looked
        return graph

    def table(self, gm: fx.GraphModule, origins: dict[fx.Node, Origin], captured: bool = False) -> Table:
        """The node table of a graph of the compilation on this thread."""
        return self._builder.build(gm, origins, self.current(gm).root_class, captured)

    def _again(
        self,
        compilation: Compilation,
        scope: Scope,
        gm: fx.GraphModule,
        previous: Track,
        stage: str,
        leaf: str,
        place: Where,
        started: float,
    ) -> None:
        """A stage that found the graph as the last one left it: the same facts under another name."""
        facts = previous.facts | {
            "selector": self._selector(scope, leaf),
            "stage": stage,
            "phase": scope.phase,
            "pass": None,
            "number": None,
            "piece": place.piece,
            "range": place.range,
            "changed": False,
            "ops_delta": {},
            "ms": None,
            "files": [],
            "same_as": self._stored.get(previous.fingerprint),
            "donated_inputs": self.host.donated_inputs(),
        }
        facts.pop("from", None)
        scope.tracks[scope.phase] = replace(previous, facts=facts)
        scope.snapshots += 1
        self._row(compilation, scope, "snapshot", facts)
        scope.hook_seconds += perf_counter() - started

    def _store(
        self, compilation: Compilation, scope: Scope, gm: fx.GraphModule, table: dict[str, Any], facts: dict[str, Any]
    ) -> None:
        """Write a graph's three files and name them in ``facts``."""
        writer = self.open()
        leaf = facts["selector"].rsplit("/", 1)[1]
        stem = f"{scope.file_folder}/{scope.next_number()}.{leaf}"
        header = texts.header(compilation, facts)
        host = self.host
        runnable = Runnable(host.engine_ops, self._piece_fingerprint, host.make_input, host.module_that_registers)
        title = texts.title(compilation, facts, table)
        providers: Mapping[str, str] = facts["providers"]
        files = [
            writer.write("raw", f"{stem}.py", runnable.render(gm, header)),
            writer.write("layers", f"{stem}.layers.txt", texts.layers(table, title, header, providers)),
            writer.write("nodes", f"nodes/{facts['graph']}.json", texts.node_table(facts["graph"], table, SCHEMA)),
        ]
        facts["files"] = [entry for entry in files if entry is not None]
        if facts["files"]:
            self._stored[facts["graph"]] = facts["selector"]

    def _path(self, scope: Scope, leaf: str) -> str:
        return "/".join(part for part in (scope.selector, scope.subfolder, safe_path(leaf) if leaf else "") if part)

    def _selector(self, scope: Scope, leaf: str) -> str:
        """A selector that no other snapshot or text of this process has."""
        selector = self._path(scope, leaf)
        self._selectors[selector] = self._selectors.get(selector, 0) + 1
        return selector if self._selectors[selector] == 1 else f"{selector}~{self._selectors[selector]}"

    def _providers(self, gm: fx.GraphModule) -> dict[str, str]:
        found = {node.name: self.host.provider(node) for node in gm.graph.nodes if node.op == "call_function"}
        return {name: provider for name, provider in found.items() if provider is not None}

    def _row(self, compilation: Compilation, scope: Scope, event: str, facts: dict[str, Any]) -> None:
        self.event(event, compilation=compilation.name, **facts)
        place = self._path(scope, "")
        self._rows.setdefault(compilation.name, []).append({"event": event, "scope": place, **facts})

    # -- passes -----------------------------------------------------------------------------------------

    def ran(
        self,
        stage: str,
        gm: fx.GraphModule,
        name: str,
        leaf: str,
        number: int | None,
        changed: bool,
        ms: float,
        providers: Mapping[str, str] | None = None,
    ) -> None:
        """A pass ran: an event always, a snapshot when the graph is not the one recorded last."""
        place = where()
        compilation = self.current(gm)
        if not self._accepts(compilation, stage, name, place):
            return
        started = perf_counter()
        scope = compilation.scope(place.piece, place.range)
        previous = scope.previous(scope.phase)
        known = previous is not None and same(previous.remembered.frozen, freeze(gm.graph))
        before = previous.counts if previous else {}
        scope.hook_seconds += perf_counter() - started
        if changed and not known:
            self.graph(stage, gm, pass_name=name, number=number, leaf=leaf, ms=ms, providers=providers)
        latest = scope.previous(scope.phase)
        self._row(
            compilation,
            scope,
            "pass",
            {
                "selector": self._path(scope, leaf),
                "stage": stage,
                "phase": scope.phase,
                "pass": name,
                "number": number,
                "piece": place.piece,
                "range": place.range,
                "changed": changed,
                "nodes": len(gm.graph.nodes),
                "ops_delta": ops_delta(before, latest.counts) if changed and latest is not None else {},
                "ms": round(ms, 3),
            },
        )

    def _piece_fingerprint(self, gm: fx.GraphModule) -> str | None:
        known = self._piece_fingerprints.get(id(gm))
        return known[1] if known is not None and known[0] is gm else None

    def note_piece(self, gm: fx.GraphModule, graph: str) -> None:
        """Remember a piece's fingerprint, so that equal pieces become one class of the raw stitching graph."""
        self._piece_fingerprints[id(gm)] = (gm, graph)

    # -- text, caches, numbers --------------------------------------------------------------------------

    def code(self, kind: str, text: str, *, leaf: str, file: str, cached: bool = False,
        compilation: Compilation | None = None, kernels: Mapping[str, list[str]] | None = None,
        **facts: Any) -> None:
        """Record generated text.

        Args:
            kind: ``output_code``, ``kernel``, ``execution_code``, ``patterns``, ``guards`` or ``post_grad_text``.
            text: what to write.
            leaf: last part of the selector.
            file: file name in the scope's folder.
            cached: whether it came out of a cache (a warm start).
        """
        place = where() if compilation is None else Where()
        if compilation is not None:
            compilation.root.phase = None
        compilation = compilation or self.current()
        if not self._accepts(compilation, "output_code" if kind == "post_grad_text" else kind, None, place):
            return
        started = perf_counter()
        scope = compilation.scope(place.piece, place.range)
        selector = self._selector(scope, leaf)
        digest = output_code.digest(text)
        files: list[dict[str, Any]] = []
        same_as = self._stored_code.get(digest)
        if same_as is None:
            entry = self.open().write("code", f"{scope.file_folder}/{file}", text)
            if entry is not None:
                files = [entry]
                self._stored_code[digest] = selector
        self._row(
            compilation,
            scope,
            "code",
            {
                "kind": kind,
                "selector": selector,
                "phase": scope.phase,
                "piece": place.piece,
                "range": place.range,
                "files": files,
                "same_as": same_as,
                "kernels": dict(kernels or {}),
                "cached": cached,
                **facts,
            },
        )
        scope.render_seconds += perf_counter() - started

    def cache(self, kind: str, result: str, key: str | None, factors: Any = None) -> None:
        """A compile cache was asked."""
        if not self.settings.filters.accept("cache", None, None):
            return
        place = where()
        compilation = self._current()
        self.event(
            "cache",
            compilation=compilation.name if compilation else place.compilation,
            kind=kind,
            result=result,
            key=key,
            factors=factors,
            piece=place.piece,
            range=place.range,
        )

    def metric(self, kind: str, values: Mapping[str, Any], compilation: Compilation | None = None) -> None:
        """Numbers or reasons about the compile on this thread (or about ``compilation``)."""
        if not self.settings.filters.accept("metrics", None, None):
            return
        place = where()
        compilation = compilation or self._current()
        self.event(
            "metric",
            compilation=compilation.name if compilation else place.compilation,
            kind=kind,
            values=dict(values),
            piece=place.piece,
            range=place.range,
        )

    # -- the end ----------------------------------------------------------------------------------------

    def finish(self, compilation: Compilation) -> None:
        """A compile is over: say what it cost, write its index, let its graphs go."""
        for scope in compilation.root.walk():
            if scope.snapshots:
                self.event(
                    "metric",
                    compilation=compilation.name,
                    kind="hooks",
                    piece=scope.parent.name if scope.name.startswith("range_") and scope.parent else None,
                    range=scope.name.removeprefix("range_") if scope.name.startswith("range_") else None,
                    values={
                        "scope": scope.selector,
                        "hook_ms": round(1e3 * scope.hook_seconds, 3),
                        "render_ms": round(1e3 * scope.render_seconds, 3),
                        "snapshots": scope.snapshots,
                    },
                )
        if not compilation.finished:
            text = sizes.describe(compilation)
            if text:
                self.code("guards", text, leaf="guards", file="98.guards.txt", compilation=compilation)
            self.event("end", compilation=compilation.name, values={"snapshots": len(self._rows.get(compilation.name, []))})
        compilation.finished = True
        compilation.root.forget()
        self.write_index(compilation)

    def write_index(self, compilation: Compilation) -> None:
        """Write ``index.md`` of a compilation anew."""
        text = pages.index(compilation, self._rows.get(compilation.name, []))
        self.open().write("index", f"{compilation.root.folder}/index.md", text, announce=False)

    def close(self) -> None:
        """The recording is over."""
        if self.writer is None:
            return
        with self._lock:
            for compilation in self.compilations.values():
                if not compilation.finished and not self.disabled:
                    self.finish(compilation)
            if not self.disabled:
                left_out = self.writer.files_left_out
                self.event("end", compilation=None, values={"bytes": self.writer.bytes_written, "files_left_out": left_out})
            self.writer.close()
            self.disabled = True
