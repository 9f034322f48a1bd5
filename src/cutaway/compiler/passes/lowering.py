"""Ops with several implementations, put in terms of the one that the priority chooses.

vLLM's ``VllmIRLoweringPass`` (``vllm/compilation/passes/ir/lowering_pass.py``) is the model; it traces the chosen
implementation anew for every node. Here it is traced once for each kind of arguments in a process
(`cutaway.compiler.passes.replacement`); that was the idea of vLLM's pull request 39034.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.context import PassReport, get_pass_context
from cutaway.compiler.passes.graph import line_of, value_of
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.replacement.cache import ReplacementCache, process_cache
from cutaway.compiler.passes.replacement.call import Call, LoweringError
from cutaway.compiler.passes.replacement.facts import Facts
from cutaway.compiler.passes.replacement.identity import Identities
from cutaway.compiler.passes.replacement.insert import insert
from cutaway.compiler.passes.replacement.key import Describer, Portable, UndescribedError
from cutaway.compiler.passes.replacement.recipe import Bound, recipe_of
from cutaway.errors import CompileError, OpError
from cutaway.identity.sources import UncacheableError, digest
from cutaway.identity.stable import canonical, stable
from cutaway.ops import IrOp, IrOpImpl, registry
from cutaway.record.names import layer_path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IrLowering(InductorPass):
    """Puts the chosen implementation, as ATen ops, in the place of each op of ``cutaway.ops``.

    The first provider of the priority in force that takes a node's arguments is chosen. Sizes are asked nothing that
    only a new guard could answer: where ``supports_args`` asks such a thing, the provider is passed over, and the note
    ``undecided`` says so; where the implementation itself does, the node cannot be lowered.

    Told to the pass context's report: the provider of each node; how many nodes were ``lowered``, and of them, how
    many with a replacement that was there (``hits``), with one that was made and kept (``misses``), and with one that
    can serve no other node (``uncached``; the note of that name says why).

    Attributes:
        replacements: where traced implementations are kept; by default the cache of this process.
    """

    name: ClassVar[str] = "ir_lowering"
    replacements: ReplacementCache = field(default_factory=process_cache, compare=False, repr=False)

    def __call__(self, graph: fx.Graph) -> None:
        """Lower every node of an op, and of the ops that implementations call.

        Raises:
            CompileError: nodes could not be lowered; it names them all.
        """
        ops = ir_targets()
        nodes = [node for node in graph.nodes if node.op == "call_function" and node.target in ops]
        report = _report()
        report.count("lowered", 0)
        if not nodes:
            return
        run = Lowering(self.replacements, report, ops, nodes)
        for node in nodes:
            run.lower(node)
        run.finish()

    def uuid(self) -> str | None:
        """The pass's sources, and for every op the priority in force with the identity of each implementation in it."""
        parts = (type(self), Call, Facts, Identities, insert, Describer, Bound)
        try:
            ops = {name: [(one, op.impls[one].uuid()) for one in op.priority] for name, op in registry.items()}
            return digest(canonical(stable([self.name, parts, ops], f"the pass {self.name}")))
        except (UncacheableError, OpError):
            return None

    def __reduce__(self) -> tuple[type[IrLowering], tuple[()]]:
        """Without the cache, which belongs to the process."""
        return type(self), ()


def ir_targets() -> dict[Any, IrOp]:
    """Operator -> the op that it stands for. Where activations are given away, nobody need make use of that."""
    found = {op.torch_op: op for op in registry.values()}
    return found | {op.maybe_inplace.torch_op: op for op in registry.values() if op.allow_inplace}


def _report() -> PassReport:
    try:
        return get_pass_context().report
    except LookupError:  # the pass is called by hand
        return PassReport()


@dataclass(frozen=True)
class Failure:
    """A node that could not be lowered, why, and the cure."""

    name: str
    why: str
    cure: str


class Lowering:
    """The lowering of one graph.

    Args:
        replacements: what is known from other graphs.
        report: what is told.
        ops: operator -> op.
        nodes: those that will be lowered.
    """

    def __init__(
        self, replacements: ReplacementCache, report: PassReport, ops: Mapping[Any, IrOp], nodes: Sequence[fx.Node]
    ) -> None:
        self.replacements = replacements
        self.report = report
        self.ops = ops
        self.mode = torch_internals.fake_mode_of_compile() or _mode_of(nodes)
        if self.mode is None:
            raise CompileError(
                f"the IR node {nodes[0].name} cannot be lowered",
                "there is no fake tensor among its arguments and what it returns",
                "run the pass on a graph that AOTAutograd or make_fx made",
            )
        self.maker = torch_internals.FakeMaker(self.mode)
        self.describer = Describer(self.maker)
        self.around = self._around()
        self.known: dict[Hashable, tuple[IrOpImpl, Bound]] = {}
        self.chosen: dict[str, Counter[str]] = defaultdict(Counter)
        self.counts: Counter[str] = Counter(hits=0, misses=0, uncached=0)
        self.notes: dict[str, dict[str, None]] = {"undecided": {}, "uncached": {}}
        self.failures: list[Failure] = []

    def _around(self) -> Hashable | None:
        """What tracing depends on besides a node; None when that cannot be told."""
        ambient, mode = torch_internals.ambient_of_tracing(), torch_internals.settings_of_mode(self.mode)
        return None if ambient is None or mode is None else (ambient, mode)

    def lower(self, node: fx.Node, outer: tuple[str, ...] = ()) -> None:
        """Lower one node and then those that its implementation is made of, or keep in mind why it cannot be.

        Args:
            node: the node.
            outer: the ops whose implementations it is part of.
        """
        op = self.ops[node.target]
        name = node.name
        try:
            if op.name in outer:
                raise LoweringError(
                    f"an implementation calls its own op ({' -> '.join((*outer, op.name))})",
                    "call the function that implements it, not the op",
                )
            impl, made = self._lowered(node, Call(op, node, self.maker))
        except LoweringError as error:
            self.failures.append(Failure(name, f"{name} (op {op.name}{_place(node)}): {error}", error.cure))
            return
        self.chosen[op.name][impl.provider] += 1
        self.report.providers[name] = impl.provider
        for inner in made:
            if inner.target in self.ops:
                self.lower(inner, (*outer, op.name))

    def _lowered(self, node: fx.Node, call: Call) -> tuple[IrOpImpl, list[fx.Node]]:
        """The implementation that was chosen, and the nodes that were put in the node's place."""
        try:
            if self.around is None:
                raise UndescribedError("a mode is on that may change what is traced")
            described = (call.op.name, *self.describer.describe(call.args, call.inputs))
            impl, bound = self.known.get(described) or self._recalled(call, described)
        except UndescribedError as error:
            return self._lowered_alone(node, call, str(error))
        if bound is None:
            return impl, self._lowered_first(node, call, impl, described)
        self.counts["hits"] += 1
        with self.maker as maker:
            values = bound.make(maker, list(call.inputs.values()))
        steps, outputs = bound.recipe.steps, bound.recipe.outputs
        return impl, insert(node, list(call.inputs), steps, outputs, values, IrLowering.name)

    def _recalled(self, call: Call, described: tuple[Hashable, ...]) -> tuple[IrOpImpl, Bound | None]:
        """The implementation for arguments that are new in this graph, and its recipe if another graph had such."""
        impl = call.implementation(self._undecided)
        portable = self.describer.portable(described)
        recipe = self.replacements.get(self._key(impl, portable))
        if recipe is None or not torch_internals.still_decomposed(recipe.decompositions):
            return impl, None
        bound = Bound(recipe, portable.symbols, self.describer.numbers, self.mode.shape_env)
        self.known[described] = impl, bound
        return impl, bound

    def _key(self, impl: IrOpImpl, portable: Portable) -> Hashable:
        try:
            return impl, self.replacements.identities.of(impl), portable.key, self.around
        except OpError as error:
            raise UndescribedError(str(error)) from error

    def _lowered_first(
        self, node: fx.Node, call: Call, impl: IrOpImpl, described: tuple[Hashable, ...]
    ) -> list[fx.Node]:
        made = call.traced(impl)
        portable = self.describer.portable(described)
        recipe, why = recipe_of(made, list(call.bare.values()), portable.symbols, self.maker)
        if recipe is None:
            self._count_uncached(call, impl, why)
            self.known.clear()  # tracing may have learnt something about the symbols
            self.describer.forget_facts()
        else:
            self.replacements.put(self._key(impl, portable), recipe)
            self.counts["misses"] += 1
            bound = Bound(recipe, portable.symbols, self.describer.numbers, self.mode.shape_env)
            self.known[described] = impl, bound
            _log.debug("traced replacement for %s (cache size: %d)", call.op.name, len(self.replacements))
        return insert(node, list(call.inputs), made.steps, made.outputs, made.values, IrLowering.name)

    def _lowered_alone(self, node: fx.Node, call: Call, why: str) -> tuple[IrOpImpl, list[fx.Node]]:
        impl = call.implementation(self._undecided)
        made = call.traced(impl)
        self._count_uncached(call, impl, why)
        return impl, insert(node, list(call.inputs), made.steps, made.outputs, made.values, IrLowering.name)

    def _undecided(self, question: str) -> None:
        self.notes["undecided"][question] = None

    def _count_uncached(self, call: Call, impl: IrOpImpl, why: str) -> None:
        self.counts["uncached"] += 1
        self.notes["uncached"][f"op '{call.op.name}', provider '{impl.provider}': {why}"] = None

    def finish(self) -> None:
        """Tell what was done.

        Raises:
            CompileError: there were nodes that could not be lowered.
        """
        self.replacements.count(**self.counts)
        number = sum(order.total() for order in self.chosen.values())
        self.report.count("lowered", number)
        for name, count in self.counts.items():
            self.report.count(name, count)
        for name, texts in self.notes.items():
            if texts:
                self.report.note(name, list(texts))
        _log.debug("lowered %d IR nodes", number)
        _log.debug("selected implementations: %s", Chosen(self.chosen))
        if self.failures:
            raise _failure(self.failures, number)


@dataclass(frozen=True)
class Chosen:
    """Which providers were chosen how often, as text: ``rms_norm=native*128``."""

    counts: Mapping[str, Counter[str]]

    def __str__(self) -> str:
        return ", ".join(f"{op}={self._of(providers)}" for op, providers in self.counts.items())

    @staticmethod
    def _of(providers: Counter[str]) -> str:
        return ",".join(name if number == 1 else f"{name}*{number}" for name, number in providers.items())


def _failure(failures: Sequence[Failure], lowered: int) -> CompileError:
    names = ", ".join(failure.name for failure in failures)
    cures = dict.fromkeys(failure.cure for failure in failures)
    return CompileError(
        f"{len(failures)} of {len(failures) + lowered} IR nodes cannot be lowered: {names}",
        "; ".join(failure.why for failure in failures),
        "; ".join(cures),
    )


def _place(node: fx.Node) -> str:
    """The layer and the source line of a node, as far as they are known."""
    path = layer_path(node.meta.get("nn_module_stack"))
    return "".join(f", {part}" for part in (path[-1] if path else "", line_of(node)) if part)


def _mode_of(nodes: Sequence[fx.Node]) -> Any:
    """The fake mode that the arguments of some nodes, or what they return, belong to."""
    for node in nodes:
        for value in map(value_of, (*node.all_input_nodes, node)):
            mode = torch_internals.fake_mode_of(value) if isinstance(value, torch.Tensor) else None
            if mode is not None:
                return mode
    return None
