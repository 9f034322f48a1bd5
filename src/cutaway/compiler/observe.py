"""Tells the recorder what our compiler does, at the places where vLLM's adapter tells what vLLM does.

The compiler knows nothing of files. It asks for the recordings that are on when it starts a model, and hands each
its stages; with none on, every method here does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from torch import fx
from torch.fx.node import map_aggregate, map_arg

from cutaway import torch_internals
from cutaway.compiler.capture.regions import inline_regions
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.manager import PassStep
from cutaway.ops import IrOp, ir_op_of
from cutaway.record.context import Host, at
from cutaway.record.environment import plain
from cutaway.record.hooks import Hooks
from cutaway.record.kept.keep import keep_artifact, keep_compilation
from cutaway.record.kept.place import Place
from cutaway.record.recorder import Recorder
from cutaway.record.recording import active
from cutaway.record.split import comment_execution_code, record_split
from cutaway.record.values import concrete, described, node_value

_log = logging.getLogger(__name__)


class CompilerHost(Host):
    """What our compiler knows and torch does not."""

    library_files = ("/cutaway/compiler/", "/cutaway/ops/")
    cold_start = "with cache_dir and TORCHINDUCTOR_CACHE_DIR set to empty folders"

    def __init__(self, config: CompilationConfig, model: str) -> None:
        self.config = config
        self.model = model

        self._providers: dict[Any, str | None] = {}

    def configuration(self) -> dict[str, Any]:
        return {"model": self.model, "cutaway": plain(self.config)}

    def provider(self, node: fx.Node) -> str | None:
        """The provider that lowering will choose for a node of ours, as far as can be told without it.

        ``supports_args`` sees sizes as the numbers that they were captured with, so that asking adds no guard; the
        lowering asks for all sizes of the range. Where the two differ, the recording has a finding.
        """
        op = ir_op_of(node) if node.op == "call_function" else None
        if op is None:
            return None
        try:
            args = op.with_defaults(map_arg(node.args, node_value), map_arg(node.kwargs, node_value))
            key = (op.name, op.priority, *(map_aggregate(arg, described) for arg in args))
            if key not in self._providers:
                self._providers[key] = self._asked(op, args)
            return self._providers[key]
        except Exception as error:  # noqa: BLE001  (a check of the user's, or an argument that nobody can describe)
            _log.debug("no provider of %s can be foretold: %r", node, error)
            return None

    def _asked(self, op: IrOp, args: tuple[Any, ...]) -> str:
        with torch_internals.no_tracing_fake_mode():
            return op.dispatch(*(map_aggregate(arg, concrete) for arg in args)).provider

    def donated_inputs(self) -> list[int]:
        try:
            return sorted(get_pass_context().donated_inputs)
        except LookupError:  # not within a piece
            return []

    def module_that_registers(self, overload: Any) -> str | None:
        """The module with the op's own definition."""
        op = ir_op_of(overload)
        return None if op is None else str(op.impls["native"].function.__module__)


@dataclass
class Observer:
    """The recordings that were on when a model's compile began.

    Attributes:
        tag: what the dump calls the compilation (``backbone``).
        model: class of the model.
    """

    tag: str
    model: str
    recordings: list[tuple[Recorder, Hooks]] = field(default_factory=list)

    @classmethod
    def of(cls, config: CompilationConfig, tag: str, model: str) -> Observer:
        """Join every recording that is on."""
        observer = cls(tag, model, active())
        for recorder, _ in observer.recordings:
            if type(recorder.host) is Host:
                recorder.join(CompilerHost(config, model))
        return observer

    @contextmanager
    def compiling(self) -> Generator[None]:
        """Within the compile of the model."""
        with ExitStack() as stack:
            stack.enter_context(at(compilation=self._name(), model=self.model))
            for _, hooks in self.recordings:
                hooks.stages.handlers.append(_flattened)
                stack.callback(hooks.stages.handlers.remove, _flattened)
            yield

    def _name(self) -> str:
        """The tag, or ``tag~2`` for another model of the same tag: each has a compilation of its own in the dump."""
        known = {each.name for recorder, _ in self.recordings for each in recorder.compilations}
        names = (self.tag if number == 1 else f"{self.tag}~{number}" for number in count(1))
        return next(name for name in names if name not in known)

    def before_split(self, gm: fx.GraphModule) -> None:
        """The whole graph, as it is before it is cut."""
        for recorder, _ in self.recordings:
            recorder.guarded(recorder.graph)("before_split", gm)

    def after_split(self, split_gm: fx.GraphModule, pieces: list[str]) -> None:
        """The stitching graph and its pieces."""
        for recorder, _ in self.recordings:
            recorder.guarded(record_split)(recorder, split_gm, {name: name for name in pieces})

    def cache(self, kind: str, result: str, key: str | None, factors: Any = None) -> None:
        """The cache was asked."""
        for recorder, _ in self.recordings:
            recorder.guarded(recorder.cache)(kind, result, key, factors)

    def ran_pass(self, when: str, gm: fx.GraphModule, step: PassStep) -> None:
        """A pass of ours begins or ends (``when``) on a piece's graph."""
        stage = "pre_grad_pass" if step.round == "pre_grad" else "custom_pass"
        leaf = f"{step.round}.{step.number}.{step.name}"
        for recorder, hooks in self.recordings:
            if when == "begin":
                recorder.guarded(hooks.passes.begin)(gm)
            else:
                report = step.report
                told = {"providers": report.providers or None, "counts": report.counts, "notes": report.notes}
                recorder.guarded(hooks.passes.end)(stage, gm, step.name, leaf, step.number, **told)

    @contextmanager
    def piece(self, name: str, span: str, kept: Place | None = None) -> Generator[None]:
        """Within the compile of one piece for one range, or the load of it; its recording is ``kept`` there."""
        with at(piece=name, range=span, kept=kept):
            yield

    def keep_piece(self, place: Place) -> None:
        """The piece and range on this thread were compiled and stored: keep what was recorded of it."""
        for recorder, _ in self.recordings:

            def keep(recorder: Recorder = recorder) -> None:
                keep_artifact(recorder, recorder.current(), recorder.scope(), place)

            recorder.guarded(keep)()

    @contextmanager
    def loading(self) -> Generator[None]:
        """Within the load of a whole model, which may come to nothing: said is nothing before :meth:`model_loaded`."""
        with ExitStack() as stack:
            for _, hooks in self.recordings:
                stack.enter_context(hooks.loads.loading())
            yield

    def model_loaded(self, place: Place) -> None:
        """Within :meth:`loading`: it was loaded and will be used; its recording may be kept there."""
        for recorder, hooks in self.recordings:
            if hooks.loads.current is not None:
                recorder.guarded(hooks.loads.current.tell)(recorder, place)

    def keep_model(self, place: Place) -> None:
        """The compile is over, and the model was stored: keep what was recorded of it."""
        for recorder, _ in self.recordings:

            def keep(recorder: Recorder = recorder) -> None:
                keep_compilation(recorder, recorder.current(), place)

            recorder.guarded(keep)()

    def metric(self, kind: str, values: Mapping[str, Any]) -> None:
        """Numbers or reasons."""
        for recorder, _ in self.recordings:
            recorder.guarded(recorder.metric)(kind, values)

    def execution_code(self, code: str, calls: Mapping[str, str]) -> None:
        """The stitching code was generated; ``calls`` says what stands in it for which piece."""
        for recorder, hooks in self.recordings:

            def write(recorder: Recorder = recorder) -> None:
                text = comment_execution_code(code, recorder.current(), calls)
                recorder.code("execution_code", text, leaf="execution_code", file="99.execution_code.py")

            hooks.loads.when_used(recorder.guarded(write))

    def finish(self) -> None:
        """The compile is over."""
        for recorder, _ in self.recordings:

            def conclude(recorder: Recorder = recorder) -> None:
                compilation = recorder.compilations.known()
                if compilation is not None and not compilation.finished:
                    recorder.finish(compilation)

            recorder.guarded(conclude)()


def _flattened(name: str, gm: fx.GraphModule) -> bool:
    """What Dynamo captured is recorded flat, as it will be compiled (layers that repeat are traced as regions)."""
    if name.startswith("__compiled_fn_"):
        inline_regions(gm)
    return False
