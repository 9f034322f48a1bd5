"""Puts the store in front of a compiler: what is there is loaded, what is not is compiled once and kept.

vLLM's class of that name is the model; its keys and its files are not ours.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from cutaway import torch_internals
from cutaway.compiler.build.interface import Compiled, CompilerInterface, Runnable, Task
from cutaway.compiler.cache.custom_ops import operators_in
from cutaway.compiler.cache.factors import Factors, UncacheableError, key_of, piece_factors
from cutaway.compiler.cache.graph import nodes_of
from cutaway.compiler.cache.same_graph import identity_of
from cutaway.compiler.cache.store import CacheRefusedError, Entry, Store
from cutaway.compiler.config import CompilationConfig, Part
from cutaway.compiler.counters import CompilationCounter

_log = logging.getLogger(__name__)

Kind = Literal["hit", "load", "miss", "store", "built", "refused", "bypass"]


@dataclass(frozen=True)
class CacheEvent:
    """Something that happened to a piece on its way through the cache.

    Attributes:
        kind: ``hit``: equal to one that this process has; ``load``: read from the store; ``miss``: not there, so it
            will be compiled; ``store``: compiled and written; ``built``: compiled and not written; ``refused``: what
            was there is damaged; ``bypass``: neither looked for nor kept, because it has no key.
        key: the digest of its factors; empty when it has none.
        factors: the document; empty when only the key is known.
        reason: why it was refused, bypassed or not written; for a load, which files a person had edited.
        name: of the piece.
        range: for which batch sizes, such as ``1_8192``.
        seconds: how long the load or compile took.
    """

    kind: Kind
    key: str
    factors: Factors
    reason: str = ""
    name: str = ""
    range: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Built:
    """A piece that runs, and the key of its artifact (empty when it cannot be cached)."""

    runnable: Runnable
    key: str


@dataclass
class _Job:
    """One task on its way; ``graph`` and ``inputs`` are the compiler's once it has begun."""

    task: Task | None
    key: str
    factors: Factors
    name: str = ""
    range: str = ""
    refused: bool = False


class CompilerManager:
    """One compiler behind one store, for one model.

    Args:
        compiler: what compiles a piece that is not there.
        config: its fields key the artifacts; ``cache_format`` is the form they are kept in.
        store: where; None for a process that keeps nothing.
        counters: what is counted here: compilations, artifacts loaded, saved and refused.
        report: told of every event.
        within: entered around each compile: whoever watches learns which piece and range it is.
        loading: entered around each load, with the names of the piece and its range, and the entry.

    Attributes:
        identities: key -> what the graph is that it is the key of (``same_graph.py``).
        operators: name of each that the pieces with a key call, but for those of ``cutaway.ops`` -> what the key has
            of it; None for those that torch's version says all of.
    """

    def __init__(
        self,
        compiler: CompilerInterface,
        config: CompilationConfig,
        store: Store | None,
        counters: CompilationCounter,
        report: Callable[[CacheEvent], None] | None = None,
        within: Callable[[Task], AbstractContextManager[None]] | None = None,
        loading: Callable[[str, str, Entry], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.compiler = compiler
        self.config = config
        self.store = None if config.is_off(Part.CACHE) else store
        self.counters = counters
        self._report = report
        self._within = within
        self._loading = loading
        self._known: dict[str, Runnable] = {}
        self.identities: dict[str, str] = {}
        self.operators: dict[str, Any] = {}

    def compile(self, task: Task) -> Built:
        """One task, see :meth:`compile_all`."""
        return self.compile_all([task])[0]

    def compile_all(self, tasks: Sequence[Task]) -> list[Built]:
        """Every task, runnable: equal ones once, those in the store loaded, the others compiled and kept.

        Processes that share the store share the work: each compiles what no other is at, and takes the rest when it
        is there. Whatever the compiler raises goes through.
        """
        jobs = [self._job(task) for task in tasks]
        found: dict[int, Runnable] = {}
        for wait in (False, True):
            for index, job in enumerate(jobs):
                runnable = self._serve(job, wait) if index not in found else None
                if runnable is not None:
                    found[index] = runnable
        return [Built(found[index], job.key) for index, job in enumerate(jobs)]

    def load(self, key: str, name: str = "", span: str = "") -> Runnable | None:
        """What has this key, from this process or the store; None when it is not there or is damaged.

        Args:
            key: of the artifact.
            name, span: of the piece and the batch sizes that it is for, as in a :class:`CacheEvent`.
        """
        return self._find(_Job(None, key, {}, name, span)) if key else None

    # -- one piece ----------------------------------------------------------------------------------------

    def _job(self, task: Task) -> _Job:
        """The task with its key, taken before the compiler may change the graph."""
        name, span = task.name, str(task.range)
        try:
            factors = piece_factors(task, self.compiler, self.config)
            key, identity = key_of(factors), identity_of(task.graph)
            names = operators_in(node for _, node, _ in nodes_of(task.graph))
            self.operators |= {one: factors["custom_ops"].get(one) for one in names}
            if self.identities.setdefault(key, identity) == identity:
                return _Job(task, key, factors, name, span)
            reason = f"another graph has its key {key[:10]}, which must lack a factor"
            _warn(f"{name} is not cached: {reason}")
        except UncacheableError as error:
            reason = str(error)
            _log.info("%s is not cached: %s", name, reason)
        except Exception as error:  # noqa: BLE001 (no key is made: that must not keep a model from running)
            reason = f"{type(error).__name__}: {error}"
            _warn(f"{name} is not cached, because its key cannot be made: {reason}")
        job = _Job(task, "", {}, name, span)
        self._tell("bypass", job, reason)
        return job

    def _serve(self, job: _Job, wait: bool) -> Runnable | None:
        """The job's runnable; None when another process is at it and we are not to wait."""
        if not job.key:
            return self._build(job)
        found = self._find(job)
        if found is not None:
            return found
        if self.store is None:
            return self._build(job)
        if wait:
            _log.info("waiting for another process that compiles %s", job.name)
        with self.store.locked(job.key, wait) as held:
            if not held:
                return None
            found = self._find(job)
            return self._build(job) if found is None else found

    def _find(self, job: _Job) -> Runnable | None:
        if job.key in self._known:
            self._tell("hit", job)
            return self._known[job.key]
        if self.store is None:
            return None
        began = time.monotonic()
        entry = None
        try:
            entry = self.store.get(job.key, self.config.cache_format)
            if entry is None:
                return None
            self._check_graph(job, entry)
            with self._loading(job.name, job.range, entry) if self._loading is not None else nullcontext():
                runnable = self._load(self.store, entry)
        except CacheRefusedError as error:
            return self._refuse(job, str(error))
        except Exception as error:  # noqa: BLE001 (whatever an artifact raises, the piece can be compiled)
            return self._refuse(job, f"{self._culprit(entry)}: it cannot be loaded ({type(error).__name__}: {error})")
        self.counters.artifacts_loaded += 1
        self._known[job.key] = runnable
        self._tell("load", job, _edited(entry), time.monotonic() - began)
        return runnable

    def _load(self, store: Store, entry: Entry) -> Runnable:
        for name in entry.edited:
            _log.info("using %s, which was edited since it was generated", entry.places[name])
        if entry.form == "unpacked":
            torch_internals.forget_generated_code({*entry.places.values()})
        with entry.folder(writable=store.is_writable) as folder:
            return self.compiler.load(folder, entry.form)

    def _check_graph(self, job: _Job, entry: Entry) -> None:
        """An artifact must be of the graph at hand; its key says so, unless it lacks a factor or a file was swapped."""
        made_of, wanted = entry.facts.get("identity"), self.identities.get(job.key)
        if made_of is not None and wanted is not None and made_of != wanted:
            why = f"it was made of another graph ({str(made_of)[:10]}) than the one at hand ({wanted[:10]})"
            raise CacheRefusedError(
                entry.path, f"{why}, though it lies under its key: it is stale, or the key lacks a factor"
            )

    def _culprit(self, entry: Entry | None) -> object:
        """The file to name when a load fails though every digest is right: the edited one, if any."""
        if entry is None:
            return self.store and self.store.root
        return entry.places[entry.edited[0]] if entry.edited else entry.path

    def _refuse(self, job: _Job, reason: str) -> None:
        if job.refused:  # said already; it has not been replaced since
            return
        job.refused = True
        self.counters.artifacts_refused += 1
        self._tell("refused", job, reason)
        _warn(f"an artifact in the cache cannot be used and {job.name or 'its piece'} is compiled anew: {reason}")

    def _build(self, job: _Job) -> Runnable:
        assert job.task is not None, "only what has a task can be compiled"
        if job.key:
            self._tell("miss", job)
        began = time.monotonic()
        self.counters.backend_compilations += 1
        with self._within(job.task) if self._within is not None else nullcontext():
            compiled = self.compiler.compile(job.task)
        seconds = time.monotonic() - began
        reason = self._save(job, compiled, seconds) if job.key else "it has no key"
        if job.key:
            self._known[job.key] = compiled
        self._tell("built" if reason else "store", job, reason, seconds)
        return compiled

    def _save(self, job: _Job, compiled: Compiled, seconds: float) -> str:
        """Keep what was compiled; the reason when it is not kept."""
        if self.store is None:
            return "there is no cache"
        if not self.store.is_writable:
            return "the cache is not written to"
        form = self.config.cache_format
        facts = {"compiler": self.compiler.name, "piece": job.name, "range": job.range, "seconds": round(seconds, 3)}
        facts |= {"identity": self.identities[job.key]}
        try:
            saved = self.store.save(job.key, lambda folder: compiled.save(folder, form), job.factors, facts, form)
        except UncacheableError as error:
            _log.info("%s is not cached: %s", job.name, error)
            return str(error)
        except Exception as error:  # noqa: BLE001 (it is compiled and runs: that it cannot be kept is no reason to stop)
            reason = f"{type(error).__name__}: {error}"
            _warn(f"{job.name} is not cached, because it cannot be saved: {reason}")
            return reason
        if not saved:
            return "it cannot be kept" if self.store.is_writable else "the cache cannot be written to"
        self.counters.artifacts_saved += 1
        return ""

    def _tell(self, kind: Kind, job: _Job, reason: str = "", seconds: float = 0.0) -> None:
        if self._report is not None:
            self._report(CacheEvent(kind, job.key, job.factors, reason, job.name, job.range, seconds))


def _edited(entry: Entry) -> str:
    return f"edited: {', '.join(entry.edited)}" if entry.edited else ""


def _warn(text: str) -> None:
    warnings.warn(f"cutaway: {text}", RuntimeWarning, stacklevel=2)
