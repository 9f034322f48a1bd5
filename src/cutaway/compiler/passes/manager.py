"""Runs passes one after another; each is timed, checked, and told of."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.context import PassReport, get_pass_context
from cutaway.compiler.passes.inductor_pass import CallablePass, InductorPass, as_pass
from cutaway.errors import CompileError, CutawayError
from cutaway.identity.sources import digest

_log = logging.getLogger(__name__)

Round = Literal["pre_grad", "post_grad_pre", "post_grad"]
"""When passes run: before AOTAutograd; over the last graph before Inductor's own patterns; after all of them."""

SETTINGS: dict[Round, str] = {
    "pre_grad": "pre_grad_custom_pass",
    "post_grad_pre": "post_grad_custom_pre_pass",
    "post_grad": "post_grad_custom_post_pass",
}
"""Which entry of ``torch._inductor.config`` takes the passes of a round."""


@dataclass
class PassStep:
    """One run of one pass.

    Attributes:
        round: when it runs.
        number: its place in the round.
        name: of the pass.
        report: what it said.
        seconds: how long it took.
    """

    round: Round
    number: int
    name: str
    report: PassReport = field(default_factory=PassReport)
    seconds: float = 0.0


Watch = Callable[[Literal["begin", "end"], fx.GraphModule, PassStep], None]


class PassManager(InductorPass):
    """The passes of one round, as the one pass that Inductor is given. vLLM's ``PostGradPassManager`` is the model.

    Args:
        passes: them, in order; functions are wrapped in a :class:`CallablePass`.
        when: they run.
        watch: told when a pass begins and ends: recorder and counters listen there.
        debug: check the graph after every pass; otherwise, only after those that are not ours.
    """

    def __init__(
        self, passes: Sequence[Any], when: Round = "post_grad", watch: Watch | None = None, debug: bool = False
    ) -> None:
        self.passes = [as_pass(one) for one in passes]
        self.round: Round = when
        self.watch = watch
        self.debug = debug

    def __call__(self, graph: fx.Graph) -> None:
        """Run those that apply to the range of the pass context.

        Raises:
            CompileError: a pass failed, or left a graph that is none; it is named.
        """
        context = get_pass_context()
        for number, one in enumerate(self.passes):
            if one.is_applicable_for_range(context.compile_range):
                step = PassStep(self.round, number, one.name)
                context.report = step.report
                self._run(one, graph, step)

    def _run(self, one: InductorPass, graph: fx.Graph, step: PassStep) -> None:
        gm = graph.owning_module
        if self.watch is not None and gm is not None:
            self.watch("begin", gm, step)
        before = _ops(graph) if _log.isEnabledFor(logging.DEBUG) else None
        began = perf_counter()
        try:
            one(graph)
        except CutawayError:
            raise
        except Exception as error:
            raise CompileError(
                f"the pass {one.name} failed",
                f"{type(error).__name__}: {error}",
                f'correct it, or switch it off: off=["pass:{one.name}"]',
            ) from error
        step.seconds = perf_counter() - began
        if self.debug or not _is_ours(one):
            check_graph(graph, one.name, values=self.debug and self.round != "pre_grad")
        if before is not None:
            _log_step(step, before, _ops(graph))
        if self.watch is not None and gm is not None:
            self.watch("end", gm, step)

    def uuid(self) -> str:
        """For torch's own caches, which look for a graph: all else that the outcome depends on.

        Inputs that a graph donates are among it: the passes before AOTAutograd, which find them, leave no trace of
        them in the graph that Inductor then looks for. Unlike any other when a pass has no identity.
        """
        context = get_pass_context()
        found = [(one.name, one.uuid()) for one in self.passes]
        if any(known is None for _, known in found):
            return uuid.uuid4().hex
        return digest(repr((context.state, sorted(context.donated_inputs), found)))

    def __getstate__(self) -> dict[str, Any]:
        """torch pickles passes into its own cache keys; who watches is no part of them."""
        return {**vars(self), "watch": None}


def _is_ours(one: InductorPass) -> bool:
    return type(one).__module__.startswith("cutaway.") and not isinstance(one, CallablePass)


def check_graph(graph: fx.Graph, name: str, values: bool = True) -> None:
    """Hold a graph to what Inductor takes for granted.

    Args:
        graph: what a pass left.
        name: of the pass.
        values: whether every node must have ``meta["val"]``, as from AOTAutograd on. Inductor makes what is missing,
            when all passes have run.

    Raises:
        CompileError: a node uses one that comes after it or was erased, or has no value; it is printed.
    """
    cure = f'correct the pass, or switch it off: off=["pass:{name}"]'
    try:
        graph.lint()
    except Exception as error:
        raise CompileError(f"the pass {name} left a graph that is none", str(error), cure) from error
    for node in graph.nodes if values else ():
        if node.op == "call_function" and "val" not in node.meta and not torch_internals.is_higher_order(node.target):
            what = f"the pass {name} left a node without a value: {node.format_node()}"
            raise CompileError(what, 'other passes read dtype and sizes from meta["val"]', cure)


def _ops(graph: fx.Graph) -> Counter[str]:
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_function")


def _log_step(step: PassStep, before: Counter[str], after: Counter[str]) -> None:
    """One line a pass, as torchtitan's graph trainer has it: how long it took and which ops it added and removed."""
    change = {op: after[op] - before[op] for op in sorted(before | after) if after[op] != before[op]}
    delta = ", ".join(f"{op} {number:+d}" for op, number in change.items()) or "the same ops"
    counts = "".join(f", {number} {name}" for name, number in step.report.counts.items())
    name = f"{get_pass_context().piece}: {step.round}.{step.number}.{step.name}"
    _log.debug("%s took %.1f ms: %s%s", name, step.seconds * 1e3, delta, counts)
