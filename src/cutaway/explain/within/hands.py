"""Carries out the switches: in plain ``torch.compile``, and in our own compiler.

(vLLM's hands are `cutaway.vllm.switches`.)
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.build.interpreter import copied
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.order import ROUNDS
from cutaway.explain.switches import ANY, Switches, read_switches
from cutaway.explain.within.eye import Eye
from cutaway.explain.within.forward import Forward
from cutaway.explain.within.gate import Gate, behind
from cutaway.explain.within.journal import Journal
from cutaway.explain.within.stitching import Watched, watch_functions
from cutaway.ops.lookup import registry
from cutaway.ops.priority import set_priority
from cutaway.record.context import where
from cutaway.record.recording import active

Runnable = Callable[..., Any]


class Hands:
    """What follows the switches in this process.

    Args:
        switches: what to do.
        journal: where to tell.
        native: see :class:`Eye`.
    """

    def __init__(
        self, switches: Switches, journal: Journal, native: Callable[[], AbstractContextManager[None]] | None = None
    ) -> None:
        self.switches = switches
        self.journal = journal
        self.eye = Eye(switches, journal, native or _native)
        self.gate = Gate(switches, journal)

    @classmethod
    def of_process(cls) -> Hands | None:
        """Those that ``CUTAWAY_SWITCHES`` asks for; None when it asks for none."""
        found = read_switches()
        return None if found is None else cls(found[0], Journal(found[1]))


def _native() -> AbstractContextManager[None]:
    return set_priority(dict.fromkeys(registry, ("native",)))


def expanded(providers: Mapping[str, tuple[str, ...]], known: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Providers by operator; ``*`` is every operator that is not named."""
    return {**dict.fromkeys(known if ANY in providers else (), providers.get(ANY, ())), **providers}


# -- our compiler ---------------------------------------------------------------------------------------------


class CompilerHands:
    """The hands in our own compiler: one for each model (`cutaway.compiler.session.Inspector`)."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.forward: Forward | None = None
        self.rebuild: Callable[[str, str], Runnable] | None = None

    def configured(self, config: CompilationConfig) -> CompilationConfig:
        """The configuration, with the providers that are asked for; whole models are not loaded: they have no graph."""
        asked = self.hands.switches
        providers = {op: names for op, names in expanded(asked.providers, registry).items() if op in registry}
        changed = replace(config, ir_priority={**config.ir_priority, **providers})
        if asked.changes_compile:
            changed = replace(changed, disable_cache=True)
        return replace(changed, aot=False) if asked.looks_at_pieces else changed

    def passes(self, passes: Sequence[InductorPass]) -> list[InductorPass]:
        """The passes of a round, behind the gate."""
        always = {entry.name for entries in ROUNDS.values() for entry in entries if entry.always}
        return behind(self.hands.gate, passes, always)

    def split(self, split_gm: fx.GraphModule, rebuild: Callable[[str, str], Runnable]) -> None:
        """A model was split: keep its eager graphs before anybody changes them."""
        if self.hands.switches.looks_at_pieces:
            self.forward = Forward(copy_of_split(split_gm), self.hands.eye)
            self.rebuild = rebuild

    def compiling(self, piece: str, span: str) -> None:
        """A piece is about to be compiled."""
        self.hands.journal.write("compile", piece=piece, range=span)

    def linking(
        self, code: str, names: Sequence[str], runnables: Sequence[Runnable], span: str
    ) -> tuple[str, list[Runnable]]:
        """The stitching code and what it calls, watched; one range's."""
        forward = self.forward
        if forward is None:
            return code, list(runnables)
        forward.code = code
        options = {"rebuild": self.rebuild, "compilation": where().compilation}
        watched = [
            forward.piece(name, lambda args: span, runnable, **options)
            for name, runnable in zip(names, runnables, strict=True)
        ]
        return watch_functions(code, "pieces"), Watched(watched, forward.between)

    def whole(self, function: Runnable) -> Runnable:
        """The linked model, watched."""
        return function if self.forward is None else self.forward.whole(function)


def make_inspector() -> CompilerHands | None:
    """What our compiler's sessions ask for; None when nothing is to be switched."""
    hands = Hands.of_process()
    return None if hands is None else CompilerHands(hands)


def copy_of_split(split_gm: fx.GraphModule) -> fx.GraphModule:
    """A split graph with graphs of its own; weights and metadata values are shared."""
    made = copied(split_gm)
    for name, child in split_gm.named_children():
        if isinstance(child, fx.GraphModule):
            setattr(made, name, copied(child))
    return made


# -- torch.compile --------------------------------------------------------------------------------------------


class TorchHands:
    """The hands in plain ``torch.compile``: every graph that Dynamo captures is one piece, ``graph_00`` and so on."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self._numbers = count()
        self._lock = threading.Lock()

    def install(self) -> None:
        """From now on."""
        if self.hands.switches.looks_at_pieces:
            torch_internals.patch_torch_compile(self._compile)
        if self.hands.switches.passes_off or self.hands.switches.pass_limits:
            torch_internals.patch_disabled_passes(self._is_off)

    def _is_off(self, name: str) -> bool:
        if not self.hands.gate.cares_for(name):
            return False
        with self.hands.gate.run(name) as is_let:
            return not is_let

    def _compile(self, original: Runnable, wrapper: Any, graph: Any, inputs: Any, **patches: Any) -> Any:
        if not isinstance(graph, fx.GraphModule):
            return original(wrapper, graph, inputs, **patches)
        with self._lock:
            name = f"graph_{next(self._numbers):02d}"
        kept = copied(graph)
        self.hands.journal.write("compile", piece=name, range="")
        compiled = original(wrapper, graph, inputs, **patches)
        recorders = [recorder for recorder, _ in active()]
        known = recorders[0].compilations.known() if recorders else None

        def rebuild(piece: str, span: str) -> Runnable:
            with torch.no_grad():
                return original(wrapper, copied(kept), inputs, config_patches={"force_disable_caches": True})

        forward = Forward(_calling(kept, name), self.hands.eye)
        compilation = known.name if known is not None else None
        piece = forward.piece(name, lambda args: "", compiled, rebuild=rebuild, compilation=compilation)
        return forward.whole(piece)


def _calling(graph: fx.GraphModule, name: str) -> fx.GraphModule:
    """A stitching graph around one piece."""
    around = fx.Graph()
    inputs = []
    for node in graph.graph.find_nodes(op="placeholder"):
        made = around.placeholder(node.name)
        made.meta = dict(node.meta)
        inputs.append(made)
    result = around.call_module(name, tuple(inputs))
    result_of = graph.graph.output_node().args[0]
    size = len(result_of) if isinstance(result_of, (tuple, list)) else 0
    around.output(tuple(around.call_function(operator.getitem, (result, place)) for place in range(size)))
    return fx.GraphModule({name: graph}, around)


def begin() -> None:
    """What a process does that ``CUTAWAY_SWITCHES`` names a file for, when torch has been imported."""
    hands = Hands.of_process()
    if hands is None:
        return
    hands.journal.catch_crashes()
    hands.journal.write("begin")
    TorchHands(hands).install()
