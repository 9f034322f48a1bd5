"""One recording of one process: its folder, its manifest, and what is being compiled in it.

Everything that must hold whatever is recorded stands here: nothing raises into the compile
(:meth:`Session.guarded`), the folder is made when there is first something to say, and every event knows the
compilation that it belongs to. What is said of graphs and code is in ``recorder.py``.
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
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic
from types import CodeType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record import pages, texts
from cutaway.record.compilation import Compilation, Scope, safe_name, safe_path
from cutaway.record.context import Host, Where, where
from cutaway.record.environment import describe_run, masked_command, versions
from cutaway.record.filters import Filters
from cutaway.record.writer import DumpWriter, claim_folder, claim_run

SCHEMA = 1
_INDEX_SECONDS = 1.0
_TAKEN = ("nodes", "inputs")  # folders of the process's own


@dataclass(frozen=True)
class Settings:
    """What a recording was asked for.

    Attributes:
        path: the dump's root folder.
        filters: which part to record.
        max_bytes: stop writing files once they add up to this many bytes; None for no limit.
        save_inputs: keep the real inputs of compiled graphs, in at most so many bytes; None for not at all.
        share_run: join the run of the process that started this one (``CUTAWAY_DUMP``, vLLM's processes).
    """

    path: Path
    filters: Filters = field(default_factory=Filters)
    max_bytes: int | None = None
    save_inputs: int | None = None
    share_run: bool = False


class Session:
    """The recording of this process: folder, events, compilations."""

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self.host = host or Host()
        self.disabled = False
        self._lock = threading.RLock()
        self._pending = threading.local()
        self._warned: set[tuple[str, str]] = set()
        self._reset()

    def _reset(self) -> None:
        self.writer: DumpWriter | None = None
        self.compilations: dict[str, Compilation] = {}
        self._by_compile_id: dict[str, Compilation] = {}
        self._selectors: set[str] = set()
        self.failed_in: set[str | None] = set()
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._index_written = 0.0

    def join(self, host: Host) -> None:
        """Ask ``host`` from now on what torch does not know."""
        self.host = host

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
        kind = (at, type(error).__name__)
        if kind not in self._warned:
            self._warned.add(kind)
            lacks = "nothing more will be recorded" if refused else f"the dump in {self.settings.path} lacks this part"
            text = f"cutaway: recording failed in {at}: {type(error).__name__}: {error}. The compile goes on; {lacks}."
            with suppress(RuntimeWarning):  # under -W error, a warning would end the run
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        with suppress(Exception):
            compilation = self.known()
            self.failed_in.add(compilation.name if compilation else None)
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
            self._introduce(self.writer, rank, dp_rank)
            pages.write_readme(root)
        return self.writer

    def _introduce(self, writer: DumpWriter, rank: int, dp_rank: int) -> None:
        """The first event; what it names is there, so ``context.json`` comes before it."""
        context = None
        try:
            written = writer.write("context", "context.json", texts.as_json(self._describe()), announce=False)
            context = written["path"] if written else None
        finally:
            writer.event(
                "run",
                compilation=None,
                schema=SCHEMA,
                **{name: text for name, text in versions().items() if name in ("cutaway", "torch", "python")},
                pid=os.getpid(),
                rank=rank,
                dp_rank=dp_rank,
                argv=masked_command(sys.argv),
                context=context,
            )

    def _describe(self) -> dict[str, Any]:
        try:
            return describe_run(self.host.configuration())
        except Exception as error:  # noqa: BLE001  (a host's configuration that cannot be read must not cost the rest)
            text = f"{type(error).__name__}: {error}"
        try:
            return describe_run({"error": text})
        except Exception:  # noqa: BLE001  (nor must the rest cost the recording)
            return {"error": text}

    def event(self, event: str, **facts: Any) -> int | None:
        """Append an event to the manifest; returns its number."""
        return self.open().event(event, **facts)

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
        compile_id = torch_internals.current_compile_id() if code else None  # not captured: nobody's number
        function = code.co_qualname if code else place.compilation or "unnamed"
        if isinstance(owner, torch.nn.Module) and function.startswith("Module."):
            function = f"{type(owner).__name__}.forward"
        compilation = self._new_compilation(place.compilation or function, function, compile_id)
        compilation.file = code.co_filename if code else None
        compilation.line = code.co_firstlineno if code else None
        owner_class = type(owner).__name__ if isinstance(owner, torch.nn.Module) else None
        compilation.root_class = owner_class or (f"{code.co_name.strip('<>')}()" if code else None)
        compilation.model = place.model or owner_class
        compilation.shape_env = torch_internals.shape_env_of(gm) if gm is not None else None
        if compilation.recompile:
            compilation.reasons = tuple(getattr(self._pending, "reasons", None) or ())
        self._pending.reasons = None
        self._announce(compilation)
        return compilation

    def begin_again(self, wanted: str, facts: Mapping[str, Any], **more: Any) -> Compilation:
        """A compilation that is read back, not made: what was known of it then, and ``more`` for its event."""
        compilation = self._new_compilation(where().compilation or wanted, facts["function"], None)
        compilation.file, compilation.line = facts["file"], facts["line"]
        compilation.model, compilation.root_class = facts["model"], facts["root_class"]
        compilation.recompile, compilation.reasons = facts["recompile"], tuple(facts["reason"])
        self._announce(compilation, **more)
        return compilation

    def _announce(self, compilation: Compilation, **more: Any) -> None:
        if self._wants(compilation):
            self.event(
                "compilation",
                compilation=compilation.name,
                function=compilation.function,
                file=compilation.file,
                line=compilation.line,
                model=compilation.model,
                compile_id=compilation.compile_id,
                recompile=compilation.recompile,
                reason=list(compilation.reasons),
                folder=compilation.root.folder,
                **more,
            )

    def _new_compilation(self, wanted: str, function: str, compile_id: str | None) -> Compilation:
        attempt = (compile_id or "").partition("/")[2]
        recompile = int(attempt) if attempt.isdigit() else 0
        base = safe_name(wanted)
        name = self.unused_name(base if not recompile else f"{base}.{recompile + 1}")
        compilation = Compilation(name, function, compile_id=compile_id, recompile=recompile)
        self.compilations[name] = compilation
        earlier = self._by_compile_id.get(compile_id or "")
        if earlier is not None and not earlier.finished:  # Dynamo gave that attempt up, and captures once more
            earlier.restarted_as = name
            self.finish(earlier)
        if compile_id is not None:
            self._by_compile_id[compile_id] = compilation
        elif not where().compilation:
            self._pending.anonymous = compilation
        return compilation

    def unused_name(self, wanted: str) -> str:
        """``wanted``, or ``wanted~2`` and so on for a further compilation that is called so."""
        base = safe_name(wanted)  # cut short before it is numbered: a number that is cut off would not help
        names = (base if number == 1 else f"{base}~{number}" for number in count(1))
        return next(name for name in names if name not in (*self.compilations, *_TAKEN))

    def compiled_as(self, compile_id: str) -> Compilation | None:
        """The compilation that Dynamo knows by this id."""
        return self._by_compile_id.get(compile_id)

    def find(self, name: str | None, compile_id: str | None) -> Compilation | None:
        """The compilation that Dynamo or a host knows by this."""
        known = self._by_compile_id.get(compile_id or "")
        return known or self.compilations.get(safe_name(name) if name else "")

    def known(self) -> Compilation | None:
        """The compilation on this thread, if one has begun."""
        compile_id = torch_internals.current_compile_id()
        if compile_id is not None and compile_id in self._by_compile_id:
            return self._by_compile_id[compile_id]
        name = where().compilation
        if name:
            return self.compilations.get(safe_name(name))
        return getattr(self._pending, "anonymous", None)

    def current(self, gm: fx.GraphModule | None = None) -> Compilation:
        """The compilation on this thread; one is made when Inductor was called without Dynamo."""
        return self.known() or self.begin(None, {}, gm)

    def accepts(self, compilation: Compilation, stage: str, pass_name: str | None, place: Where) -> bool:
        return self._wants(compilation) and self.settings.filters.accept(stage, pass_name, place.piece)

    def _wants(self, compilation: Compilation | None) -> bool:
        if compilation is None:
            return True
        return self.settings.filters.accept_function(compilation.name, compilation.function)

    def next_graph(self) -> Scope:
        """The scope of a graph that Inductor begins with; without Dynamo, the compilation begins with it."""
        anonymous = getattr(self._pending, "anonymous", None)
        if anonymous is not None and self.known() is anonymous and self._steps(anonymous):
            self.finish(anonymous)
            self._pending.anonymous = None
        place = where()
        return self.current().next_graph(place.piece, place.range)

    def scope(self) -> Scope:
        """The scope on this thread."""
        place = where()
        return self.current().scope(place.piece, place.range)

    # -- events with a place ------------------------------------------------------------------------------

    def path(self, scope: Scope, leaf: str) -> str:
        return "/".join(part for part in (scope.selector, scope.subfolder, safe_path(leaf) if leaf else "") if part)

    def selector(self, scope: Scope, leaf: str) -> str:
        """A selector that no other snapshot or text of this process has."""
        path = self.path(scope, leaf)
        names = (path if number == 1 else f"{path}~{number}" for number in count(1))
        selector = next(name for name in names if name not in self._selectors)
        self._selectors.add(selector)
        return selector

    def row(self, compilation: Compilation, scope: Scope, event: str, facts: dict[str, Any]) -> None:
        self.event(event, compilation=compilation.name, **facts)
        place = self.path(scope, "")
        self._rows.setdefault(compilation.name, []).append({"event": event, "scope": place, **facts})
        if event == "code" and monotonic() - self._index_written > _INDEX_SECONDS:
            self.write_index(compilation)

    def rows(self, compilation: Compilation) -> list[dict[str, Any]]:
        """The snapshots, passes, code and metrics of a compilation so far: their facts, and their ``scope``."""
        return self._rows.get(compilation.name, [])

    def cache(self, kind: str, result: str, key: str | None, factors: Any = None) -> int | None:
        """A compile cache was asked; returns the number of the event."""
        if not self.settings.filters.accept("cache", None, None):
            return None
        place = where()
        compilation = self.known()
        if not self._wants(compilation):
            return None
        return self.event(
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
        compilation = compilation or self.known()
        if not self._wants(compilation):
            return
        facts = {"kind": kind, "values": dict(values), "piece": place.piece, "range": place.range}
        if compilation is None:
            self.event("metric", compilation=place.compilation, **facts)
        else:
            self.metric_row(compilation, facts)

    def metric_row(self, compilation: Compilation, facts: dict[str, Any]) -> None:
        """A metric of a compilation, with all that is said of it."""
        self.event("metric", compilation=compilation.name, **facts)
        self._rows.setdefault(compilation.name, []).append({"event": "metric", **facts})

    # -- the end ----------------------------------------------------------------------------------------

    def finish(self, compilation: Compilation) -> None:
        """A compile is over: say what it cost, write its index, let its graphs go."""
        wanted = self._wants(compilation)
        if wanted:
            self._conclude(compilation)
        compilation.finished = True
        compilation.root.forget()
        if wanted:
            self.write_index(compilation)

    def _conclude(self, compilation: Compilation) -> None:
        for scope in compilation.root.walk():
            if scope.snapshots:
                names = scope.selector.split("/")
                self.event(
                    "metric",
                    compilation=compilation.name,
                    kind="hooks",
                    piece=next((name for name in names if name.startswith("piece_")), None),
                    range=next((name[len("range_") :] for name in names if name.startswith("range_")), None),
                    values={
                        "scope": scope.selector,
                        "hook_ms": round(1e3 * scope.hook_seconds, 3),
                        "render_ms": round(1e3 * scope.render_seconds, 3),
                        "snapshots": scope.snapshots,
                    },
                )
        if not compilation.finished:
            values = {"rows": len(self._steps(compilation)), "failed": compilation.failed}
            if compilation.restarted_as is not None:
                values["restarted_as"] = compilation.restarted_as
            self.event("end", compilation=compilation.name, values=values)

    def _steps(self, compilation: Compilation) -> list[dict[str, Any]]:
        return [row for row in self.rows(compilation) if row["event"] != "metric"]

    def write_index(self, compilation: Compilation) -> None:
        """Write ``index.md`` of a compilation anew."""
        text = pages.index(compilation, self._steps(compilation), self.host.cold_start)
        self.open().write("index", f"{compilation.root.folder}/index.md", text, announce=False)
        self._index_written = monotonic()

    def close(self) -> None:
        """The recording is over."""
        if self.writer is None:
            return
        with self._lock:
            for compilation in self.compilations.values():
                if not compilation.finished and not self.disabled:
                    if compilation.compile_id is not None:  # Dynamo says when a compile is over, if it comes so far
                        compilation.failed = compilation.failed or "it never came to its end"
                    self.finish(compilation)
            if not self.disabled:
                left_out = self.writer.files_left_out
                self.event(
                    "end", compilation=None, values={"bytes": self.writer.bytes_written, "files_left_out": left_out}
                )
            self.writer.close()
            self.disabled = True
