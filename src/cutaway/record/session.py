"""One recording of one process: its folder, its manifest, and what is being compiled in it.

Everything that must hold whatever is recorded stands here: nothing raises into the compile
(:meth:`Session.guarded`), the folder is made when there is first something to say, and every event knows the
compilation that it belongs to. What is said of graphs and code is in ``recorder.py``.
"""

from __future__ import annotations

import functools
import gc
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from time import monotonic
from types import CodeType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.record import pages
from cutaway.record.compilation import Compilation, Scope
from cutaway.record.compilations import Compilations
from cutaway.record.context import Host, Where, where
from cutaway.record.run import introduce
from cutaway.record.settings import Settings
from cutaway.record.warning import warn
from cutaway.record.writer import DumpWriter, claim_folder, claim_run

_INDEX_SECONDS = 1.0


class Session:
    """The recording of this process: folder, events, compilations.

    Attributes:
        settings: what was asked for.
        host: whoever drives the compiler.
        disabled: whether nothing is recorded any more: it is over, or the disk refused.
        compilations: those that have begun.
        writer: of this process's folder; None before there is something to say.
        failed_in: names of the compilations that lack something because recording failed; None for outside of any.
    """

    def __init__(self, settings: Settings, host: Host | None = None) -> None:
        self.settings = settings
        self.host = host or Host()
        self.disabled = False
        self._lock = threading.RLock()
        self._warned: set[tuple[str, str]] = set()
        self._reset()

    def _reset(self) -> None:
        self.writer: DumpWriter | None = None
        self.compilations = Compilations()
        self.failed_in: set[str | None] = set()
        self._refusal: OSError | None = None
        self._selectors: set[str] = set()
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
            except Exception as error:  # noqa: BLE001  (never end the run)
                self.failed(getattr(function, "__name__", "hook"), error)
            finally:
                if collecting:
                    gc.enable()

        return safe

    def failed(self, at: str, error: Exception) -> None:
        """Note that recording failed somewhere; the compile goes on. A dump that cannot be written ends the recording.

        What else may be refused (a cache's folder, a file of the host's) costs that part alone.
        """
        refused = isinstance(error, OSError) and self._is_of_the_dump(error)
        kind = (at, type(error).__name__)
        if kind not in self._warned:
            self._warned.add(kind)
            lacks = "nothing more will be recorded" if refused else f"the dump in {self.settings.path} lacks this part"
            warn(f"recording failed in {at}: {type(error).__name__}: {error}. The compile goes on; {lacks}.")
        with suppress(Exception):
            compilation = self.compilations.known()
            self.failed_in.add(compilation.name if compilation else None)
            self.event(
                "error",
                compilation=compilation.name if compilation else None,
                where=at,
                error=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(),
            )
        self.disabled = refused or self.disabled

    def _is_of_the_dump(self, error: OSError) -> bool:
        return error is self._refusal or (self.writer is not None and error is self.writer.failure)

    # -- files and events -------------------------------------------------------------------------------

    def open(self) -> DumpWriter:
        """The process folder, made when there is first something to say. Raises OSError."""
        if self.writer is None:
            try:
                self._make_folder()
            except OSError as error:
                self._refusal = error
                raise
        assert self.writer is not None
        return self.writer

    def _make_folder(self) -> None:
        root = self.settings.path.absolute()
        run = claim_run(root, self.settings.share_run)
        rank, dp_rank = self.host.ranks()
        name = f"rank_{rank}_dp_{dp_rank}"
        self.writer = DumpWriter(claim_folder(run, name, name + ".{}"), self.settings.max_bytes)
        introduce(self.writer, self.host, rank, dp_rank)
        pages.write_readme(root)

    def event(self, event: str, **facts: Any) -> int | None:
        """Append an event to the manifest; returns its number."""
        return self.open().event(event, **facts)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's files alone and begin a folder of its own."""
        self._lock = threading.RLock()
        self._reset()

    # -- what is being compiled -------------------------------------------------------------------------

    def begin(self, code: CodeType | None, arguments: Mapping[str, Any], gm: fx.GraphModule | None) -> Compilation:
        """A function was captured: make its compilation and say so."""
        place, owner = where(), arguments.get("self")
        module = type(owner).__name__ if isinstance(owner, torch.nn.Module) else None
        compile_id = torch_internals.current_compile_id() if code else None  # not captured: nobody's number
        function = code.co_qualname if code else place.compilation or "unnamed"
        if module is not None and function.startswith("Module."):
            function = f"{module}.forward"
        compilation = self._begun(place.compilation or function, function, compile_id)
        compilation.file = code.co_filename if code else None
        compilation.line = code.co_firstlineno if code else None
        compilation.root_class = module or (f"{code.co_name.strip('<>')}()" if code else None)
        compilation.model = place.model or module
        compilation.shape_env = torch_internals.shape_env_of(gm) if gm is not None else None
        reasons = self.compilations.foretold()
        if compilation.recompile:
            compilation.reasons = reasons
        self._announce(compilation)
        return compilation

    def begin_again(self, wanted: str, facts: Mapping[str, Any], **more: Any) -> Compilation:
        """A compilation that is read back, not made: what was known of it then, and ``more`` for its event."""
        compilation = self._begun(where().compilation or wanted, facts["function"], None)
        compilation.file, compilation.line = facts["file"], facts["line"]
        compilation.model, compilation.root_class = facts["model"], facts["root_class"]
        compilation.recompile, compilation.reasons = facts["recompile"], tuple(facts["reason"])
        self._announce(compilation, **more)
        return compilation

    def _announce(self, compilation: Compilation, **more: Any) -> None:
        if self._wants(compilation):
            self.event("compilation", compilation=compilation.name, **compilation.facts(), **more)

    def _begun(self, wanted: str, function: str, compile_id: str | None) -> Compilation:
        earlier = self.compilations.compiled_as(compile_id)
        compilation = self.compilations.add(wanted, function, compile_id)
        if earlier is not None and not earlier.finished:  # Dynamo gave that attempt up, and captures once more
            earlier.restarted_as = compilation.name
            self.finish(earlier)
        return compilation

    def current(self, gm: fx.GraphModule | None = None) -> Compilation:
        """The compilation on this thread; one is made when Inductor was called without Dynamo."""
        return self.compilations.known() or self.begin(None, {}, gm)

    def accepts(self, compilation: Compilation, stage: str, pass_name: str | None, place: Where) -> bool:
        """Whether the recording is to have this."""
        return self._wants(compilation) and self.settings.filters.accept(stage, pass_name, place.piece)

    def _wants(self, compilation: Compilation | None) -> bool:
        if compilation is None:
            return True
        return self.settings.filters.accept_function(compilation.name, compilation.function)

    def next_graph(self) -> Scope:
        """The scope of a graph that Inductor begins with; without Dynamo, the compilation begins with it."""
        nameless = self.compilations.nameless()
        if nameless is not None and nameless.steps():
            self.finish(nameless)
            self.compilations.leave_nameless()
        place = where()
        return self.current().next_graph(place.piece, place.range)

    def scope(self) -> Scope:
        """The scope on this thread."""
        place = where()
        return self.current().scope(place.piece, place.range)

    # -- events with a place ------------------------------------------------------------------------------

    def selector(self, scope: Scope, leaf: str) -> str:
        """A selector that no other snapshot or text of this process has."""
        path = scope.path(leaf)
        names = (path if number == 1 else f"{path}~{number}" for number in count(1))
        selector = next(name for name in names if name not in self._selectors)
        self._selectors.add(selector)
        return selector

    def row(self, compilation: Compilation, scope: Scope, event: str, facts: dict[str, Any]) -> None:
        """A snapshot, pass or text of a compilation, with all that is said of it."""
        self.event(event, compilation=compilation.name, **facts)
        compilation.rows.append({"event": event, "scope": scope.path(), **facts})
        if event == "code" and monotonic() - self._index_written > _INDEX_SECONDS:
            self.write_index(compilation)

    def cache(self, kind: str, result: str, key: str | None, factors: Any = None) -> int | None:
        """A compile cache was asked; returns the number of the event."""
        if not self.settings.filters.accept("cache", None, None):
            return None
        place = where()
        compilation = self.compilations.known()
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
        compilation = compilation or self.compilations.known()
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
        compilation.rows.append({"event": "metric", **facts})

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
                piece, compile_range = scope.place
                facts = {"kind": "hooks", "piece": piece, "range": compile_range, "values": scope.cost()}
                self.event("metric", compilation=compilation.name, **facts)
        if not compilation.finished:
            values = {"rows": len(compilation.steps()), "failed": compilation.failed}
            if compilation.restarted_as is not None:
                values["restarted_as"] = compilation.restarted_as
            self.event("end", compilation=compilation.name, values=values)

    def write_index(self, compilation: Compilation) -> None:
        """Write ``index.md`` of a compilation anew."""
        text = pages.index(compilation, compilation.steps(), self.host.cold_start)
        self.open().write("index", f"{compilation.root.folder}/index.md", text, announce=False)
        self._index_written = monotonic()

    def close(self) -> None:
        """The recording is over; what fails of its end is told like any failure."""
        with self._lock:
            if self.writer is not None:
                for compilation in self.compilations:
                    self.guarded(self._give_up)(compilation)
                self.guarded(self._say_end)(self.writer)
                self.writer.close()
            self.disabled = True

    def _give_up(self, compilation: Compilation) -> None:
        if compilation.finished:
            return
        if compilation.compile_id is not None:  # Dynamo says when a compile is over, if it comes so far
            compilation.failed = compilation.failed or "it never came to its end"
        self.finish(compilation)

    def _say_end(self, writer: DumpWriter) -> None:
        values = {"bytes": writer.bytes_written, "files_left_out": writer.files_left_out}
        self.event("end", compilation=None, values=values)
