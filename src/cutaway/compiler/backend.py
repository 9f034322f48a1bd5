"""From a captured graph to a linked model: split, compile what differs, stitch, link.

vLLM's ``VllmBackend`` is the model. The steps are the folders, in their order.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.build.interface import Runnable, Task
from cutaway.compiler.build.interpreter import PiecewiseBackend, PiecewiseCompileInterpreter, copied
from cutaway.compiler.build.make import make_compiler
from cutaway.compiler.build.ranges import Range, make_ranges
from cutaway.compiler.cache.custom_ops import custom_op_factors
from cutaway.compiler.cache.factors import key_of
from cutaway.compiler.cache.graph import nodes_of
from cutaway.compiler.cache.ir import ir_factors, ops_in
from cutaway.compiler.cache.manager import CacheEvent, CompilerManager
from cutaway.compiler.cache.store import Entry, Store
from cutaway.compiler.capture.symbols import BatchSymbol, batch_symbol, check_demands, check_dynamic
from cutaway.compiler.config import CompilationConfig, CUDAGraphMode, Part
from cutaway.compiler.link.assembler import LinkedModel, assemble
from cutaway.compiler.link.buffers import make_copy_and_call
from cutaway.compiler.link.hold import held_inputs
from cutaway.compiler.link.plan import Plan, PlannedPiece, StaticInput
from cutaway.compiler.link.stitching import generate_execution_code
from cutaway.compiler.observe import Observer
from cutaway.compiler.passes.context import pass_context
from cutaway.compiler.passes.functionalization import check_donations
from cutaway.compiler.passes.manager import SETTINGS, PassManager, PassStep
from cutaway.compiler.passes.order import arrange
from cutaway.compiler.progress import Progress
from cutaway.compiler.run.cuda_graph import maybe_use_cudagraph_partition_wrapper, wrap_with_cudagraph_if_needed
from cutaway.compiler.run.graphs import GraphPool
from cutaway.compiler.run.priority import with_priority
from cutaway.compiler.session import Session
from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.lift import lift_constants
from cutaway.compiler.split.partition import split_graph
from cutaway.compiler.split.same import differences
from cutaway.errors import CompileError, CutawayError
from cutaway.identity.sources import UncacheableError
from cutaway.ops.priority import set_priority

_WITHOUT_COMPILER = 'correct what it says, or run pieces as they were captured: off=["inductor"]'


class CutawayBackend:
    """Compiles one captured graph; a session has one.

    Args:
        session: what the model's compile shares.
        observer: the recordings that are on.
    """

    def __init__(self, session: Session, observer: Observer) -> None:
        self.session = session
        self.config = session.config
        self.observer = observer
        self.compiler = make_compiler(self.config, self._passes())
        self.store = store_of(session)
        self.manager = CompilerManager(
            self.compiler, self.config, self.store, session.counters, self._asked, self._within, self._loading
        )
        self.pool = GraphPool()
        self.marked: Sequence[int] = ()  # sizes of the dynamic dimensions in the example
        self.branches: torch_internals.Branches | None = None  # what the model's Python asked of sizes
        self.captures_again = False  # whether Dynamo captures anew, of itself, where a guard does not hold
        self.is_kept = False  # whether every piece is in the store
        self.ir_ops: set[str] = set()  # names of the ops of cutaway.ops whose implementations are compiled in
        self._stored: set[str] = set()
        self.progress = Progress(self.config.progress)

    def _passes(self) -> dict[str, PassManager]:
        """What runs where in Inductor."""
        inspector = self.session.inspector
        return {
            SETTINGS[name]: PassManager(
                passes if inspector is None else inspector.passes(passes), name, self._ran_pass, self.config.debug
            )
            for name, passes in arrange(self.config).items()
            if passes
        }

    def _ran_pass(self, when: Literal["begin", "end"], gm: fx.GraphModule, step: PassStep) -> None:
        self.observer.ran_pass(when, gm, step)
        if when == "end":
            self.session.counters.add_pass(step.report.counts)

    def _asked(self, event: CacheEvent) -> None:
        if event.kind in ("store", "load"):
            self._stored.add(event.key)
        with self.observer.piece(event.name, event.range):
            facts = {"reason": event.reason} if event.reason else event.factors
            self.observer.cache("cutaway_piece", event.kind, event.key or None, facts)
            if event.kind in ("store", "built"):
                self.observer.metric("compile_time", {"seconds": round(event.seconds, 4)})
            if event.kind == "store" and self.store is not None:
                self.observer.keep_piece(self.store.recording(event.key, self.config.cache_format))
        self.progress.advance(event)

    def _loading(self, name: str, span: str, entry: Entry) -> AbstractContextManager[None]:
        assert self.store is not None, "what has an entry has a store"
        return self.observer.piece(name, span, self.store.recording(entry.key, entry.form))

    @contextmanager
    def _within(self, task: Task) -> Generator[None]:
        if self.session.inspector is not None:
            self.session.inspector.compiling(task.name, str(task.range))
        try:
            with (
                self.observer.piece(task.name, str(task.range)),
                pass_context(task.range, task.name, self._state(task)),
            ):
                yield
        except Exception as error:
            what = f"{self.compiler.name} cannot compile {task.name} for batch sizes {task.range}"
            cause = torch_internals.cause_of(error)
            if isinstance(cause, CutawayError):
                raise CompileError(what, f"{cause.what}: {cause.why}", cause.cure) from error
            why = f"{type(cause).__name__}: {str(cause).strip()}".split("\n", 1)[0]
            cure = "take backed sizes (dynamic_shapes)" if "data-dependent" in why else _WITHOUT_COMPILER
            raise CompileError(what, why, cure) from error

    def _state(self, task: Task) -> str:
        """What torch's own caches must be told: of implementations that passes will put in, and of custom operators."""
        nodes = [node for _, node, _ in nodes_of(task.graph)]
        try:
            return key_of({"ir": ir_factors(nodes, self.compiler.rewriters()), "ops": custom_op_factors(nodes)})
        except UncacheableError:
            return uuid.uuid4().hex

    def __call__(self, gm: fx.GraphModule, inputs: Sequence[Any]) -> LinkedModel:
        """Compile a graph as Dynamo hands it over: flat, every node with its ``example_value``.

        Args:
            gm: the graph. It is changed.
            inputs: what Dynamo captured it with; not looked at, the graph's own metadata says the same.

        Raises:
            CompileError: it cannot be compiled as asked.
        """
        with set_priority(self.config.ir_priority):
            return self._compile(gm)

    def _compile(self, gm: fx.GraphModule) -> LinkedModel:
        self.session.counters.graphs_seen += 1
        ranges = make_ranges(self.config)
        check_dynamic(gm, self.marked)
        check_donations(gm)  # before it is cut: in a piece, a later use may be out of sight
        batch = batch_symbol(gm, self.marked)
        if not self.captures_again:
            spans = [(span.start, span.end) for span in ranges]
            check_demands(gm, batch, spans, self.config.evaluate_guards, self.branches)
        if batch.symbol is None:  # nothing varies: one compile, whatever the ranges
            ranges = ranges[-1:]
        self.ir_ops = ops_in((node for _, node, _ in nodes_of(gm)), self.compiler.rewriters())
        self.observer.before_split(gm)
        split_gm, items = self._split(gm)
        self.observer.after_split(split_gm, [item.submod_name for item in items])
        if self.session.inspector is not None:
            self.session.inspector.split(split_gm, self._rebuilder(items, ranges, batch))
        with maybe_use_cudagraph_partition_wrapper(self.config, self.session.counters, self.pool):
            backends = PiecewiseCompileInterpreter(items, ranges, batch, self._compile_all).run()
        self._count(items, backends)
        plan = self._plan(split_gm, items, backends, ranges, batch)
        if not self.captures_again:  # there, Dynamo's guards hold what may not change
            plan = replace(plan, held_inputs=held_inputs(gm))
        self.is_kept = all(key in self._stored for piece in plan.pieces for key in piece.keys.values())
        return LinkedModel(plan, self._link(plan, {backend.name: backend for backend in backends}, split_gm))

    # -- split --------------------------------------------------------------------------------------------

    def _split(self, gm: fx.GraphModule) -> tuple[fx.GraphModule, list[SplitItem]]:
        whole = self.config.is_off(Part.SPLIT) or self.config.use_inductor_graph_partition
        split_gm, items = split_graph(gm, None if whole else self.config.splitting_ops)
        lift_constants(split_gm, items)
        return split_gm, items

    def _count(self, items: Sequence[SplitItem], backends: Sequence[PiecewiseBackend]) -> None:
        counters = self.session.counters
        counters.pieces_seen += len(items)
        counters.pieces_to_compile += len(backends)
        counters.pieces_repeated += sum(backend.same_as is not None for backend in backends)
        distinct = [backend for backend in backends if backend.same_as is None]
        for one, other in pairwise(distinct):
            if len(one.item.graph.graph.nodes) == len(other.item.graph.graph.nodes):
                for text in differences(one.item, other.item):
                    self.observer.metric("nearly_equal", {"pieces": f"{one.name}, {other.name}", "difference": text})

    # -- build --------------------------------------------------------------------------------------------

    def _compile_all(self, tasks: Sequence[Task]) -> list[tuple[Runnable, str]]:
        self.progress.begin(len(tasks))
        try:
            return [(built.runnable, built.key) for built in self.manager.compile_all(tasks)]
        finally:
            self.progress.end()

    def _rebuilder(
        self, items: Sequence[SplitItem], ranges: Sequence[Range], batch: BatchSymbol
    ) -> Callable[[str, str], Runnable]:
        """What compiles a piece anew with no cache: an inspector holds that against what a cache gave."""
        kept = {item.submod_name: replace(item, graph=copied(item.graph)) for item in items}

        def rebuild(name: str, span: str) -> Runnable:
            compiler = make_compiler(replace(self.config, disable_cache=True), self._passes())

            def compile_all(tasks: Sequence[Task]) -> list[tuple[Runnable, str]]:
                (task,) = tasks
                with self._within(task):
                    return [(compiler.compile(task), "")]

            (wanted,) = (one for one in ranges if str(one) == span)
            with set_priority(self.config.ir_priority):
                (made,) = PiecewiseCompileInterpreter([kept[name]], [wanted], batch, compile_all).run()
            return made.runnables[wanted]

        return rebuild

    # -- link ---------------------------------------------------------------------------------------------

    def _plan(
        self,
        split_gm: fx.GraphModule,
        items: Sequence[SplitItem],
        backends: Sequence[PiecewiseBackend],
        ranges: Sequence[Range],
        batch: BatchSymbol,
    ) -> Plan:
        by_name = {backend.name: backend for backend in backends}
        splitting = [item.submod_name for item in items if item.is_splitting_graph]
        code, names, consts = generate_execution_code(split_gm, splitting=splitting)
        self.observer.execution_code(code, {item.submod_name: item.submod_name for item in items})
        pieces = tuple(
            PlannedPiece(name, by_name[name].keys, by_name[name].is_first, by_name[name].is_last)
            if name in by_name
            else PlannedPiece(name, dict.fromkeys(ranges, ""), is_splitting=True)
            for name in names
        )
        where = None
        if batch.symbol is not None:
            where = batch.argument if batch.dim is None else (batch.argument, batch.dim)
        return Plan(code, pieces, consts, tuple(ranges), where, static_inputs(split_gm, batch))

    def _link(self, plan: Plan, backends: dict[str, PiecewiseBackend], split_gm: fx.GraphModule) -> Any:
        def runnable(piece: PlannedPiece, span: Range) -> Runnable:
            backend = backends.get(piece.name)
            if backend is None:  # a splitting piece that could not be written as code
                return split_gm.get_submodule(piece.name)
            return backend.runnables[span]

        return self._whole(plan, assemble(plan, runnable, self._wrap, inspector=self.session.inspector))

    def link_kept(self, plan: Plan) -> Any:
        """Link a plan out of the store alone. Raises CompileError when an artifact is not there or not whole."""

        def runnable(piece: PlannedPiece, span: Range) -> Runnable:
            with self.observer.piece(piece.name, str(span)):
                found = self.manager.load(piece.keys[span], piece.name, str(span))
            if found is None:
                raise CompileError(f"the artifact of {piece.name} for {span} is not in the cache")
            return found

        with maybe_use_cudagraph_partition_wrapper(self.config, self.session.counters, self.pool):
            linked = assemble(plan, runnable, self._wrap)
        self.observer.execution_code(plan.code, {piece.name: piece.name for piece in plan.pieces})
        return self._whole(plan, linked)

    def _wrap(self, runnable: Runnable, piece: PlannedPiece) -> Runnable:
        return wrap_with_cudagraph_if_needed(
            runnable,
            self.config,
            self.session.counters,
            self.pool,
            is_first=piece.is_first,
            is_last=piece.is_last,
            name=piece.name,
        )

    def _whole(self, plan: Plan, call: Runnable) -> Runnable:
        config = self.config
        mode = CUDAGraphMode.FULL
        counters = self.session.counters
        call = wrap_with_cudagraph_if_needed(call, config, counters, self.pool, is_first=True, is_last=True, mode=mode)
        call = with_priority(call, config.ir_priority)
        off = config.cudagraph_mode is CUDAGraphMode.NONE or config.is_off(Part.CUDA_GRAPHS)
        if not config.cudagraph_copy_inputs or off or not self.pool.is_available:
            return call
        largest = max(span.end for span in plan.ranges)
        buffers = [one.buffer(largest) for one in plan.static_inputs]
        return make_copy_and_call([one.position for one in plan.static_inputs], buffers, call)


def store_of(session: Session) -> Store | None:
    """Where a session keeps artifacts; None when its cache is off."""
    if session.config.is_off(Part.CACHE):
        return None
    return Store(Path(session.config.cache_dir), session.config.read_only_cache)


def static_inputs(gm: fx.GraphModule, batch: BatchSymbol) -> tuple[StaticInput, ...]:
    """The tensors among a graph's inputs whose first dimension, and no other, is the batch size."""
    found: list[StaticInput] = []
    for position, node in enumerate(gm.graph.find_nodes(op="placeholder")):
        value = node.meta.get("example_value")
        if isinstance(value, torch.Tensor) and value.ndim and isinstance(value.shape[0], torch.SymInt):
            further = [size for size in value.shape[1:] if type(size) is int]
            if torch_internals.expression(value.shape[0]) == batch.symbol and len(further) == value.ndim - 1:
                dtype = str(value.dtype).removeprefix("torch.")
                found.append(StaticInput(position, tuple(further), dtype, str(value.device)))
    return tuple(found)


def registered(gm: fx.GraphModule, example_inputs: Sequence[Any], **options: Any) -> Any:
    """``torch.compile(model, backend="cutaway", options={...})``: options are fields of the configuration.

    Dynamo keeps its guards and compiles again where they fail, as with any backend; so there may be branches on the
    batch size, and it is as large as it likes when no option says otherwise.
    """
    if torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in example_inputs):
        raise CompileError(
            'backend="cutaway" compiles for inference', "an input needs a gradient", "call the model in torch.no_grad()"
        )
    session = Session(CompilationConfig.of({"max_batch": sys.maxsize, **(options.get("options") or {})}))
    backend = CutawayBackend(session, Observer.of(session.config, session.tag, ""))
    backend.captures_again = True
    return backend(gm, example_inputs)
