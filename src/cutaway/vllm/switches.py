"""The hands in vLLM's processes: carries out `cutaway.explain.switches` in the real, unmodified vLLM.

Pieces are watched where vLLM links its stitching code, on a cold and on a warm start; passes where its pass manager is
configured; providers where its priorities come into force. Nothing here runs unless ``CUTAWAY_SWITCHES`` is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.build.interpreter import copied
from cutaway.explain.switches import read_switches
from cutaway.explain.within.forward import Forward
from cutaway.explain.within.gate import Gate
from cutaway.explain.within.hands import Hands, copy_of_split, expanded
from cutaway.explain.within.journal import Journal
from cutaway.explain.within.stitching import Watched, watch_functions
from cutaway.record.context import range_name, where
from cutaway.record.warning import warn
from cutaway.vllm.pieces import piece_name

_INSTALLED = "_cutaway_switches"
_SUBMODULE = "__vllm_inlined_submods__"
_CALLED = ("__vllm_submods__[{}]", _SUBMODULE + "{}")
_ALWAYS = ("VllmIRLoweringPass", "FixFunctionalizationPass")


def install() -> None:
    """Follow the switches of this process, once. Never raises: vLLM must start whatever happens here."""
    try:
        found = read_switches()
        backends = import_module("vllm.compilation.backends")
        if found is None or getattr(backends, _INSTALLED, False):
            return
        setattr(backends, _INSTALLED, True)
        journal = Journal(found[1])
        VllmHands(Hands(found[0], journal, _native)).install(backends)
        journal.catch_crashes()
        journal.write("begin", host="vllm")
    except Exception as error:  # noqa: BLE001  (vLLM must start whatever happens here)
        warn(f"no switch is followed: {type(error).__name__}: {error}")


class VllmHands:
    """The hands in one process of vLLM.

    Attributes:
        here: what this thread is inside of: the split graph of the model that is being compiled or read back.
        names: of the pieces that are being compiled, by the identity of their graphs.
    """

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.here = threading.local()
        self.names: dict[int, str] = {}

    def install(self, backends: Any) -> None:
        """Wrap what there is to wrap."""
        asked = self.hands.switches
        if asked.looks_at_pieces:
            caching = import_module("vllm.compilation.caching")
            self._replace(backends, "split_graph", self._split)
            self._replace(backends, "compile_execution_fn", self._link)
            self._replace(caching, "compile_execution_fn", self._link)
            self._replace(caching, "reconstruct_serializable_fn_from_mega_artifact", self._read_back)
        self._replace(backends.CompilerManager, "compile", self._compile)
        manager = import_module("vllm.compilation.passes.pass_manager").PostGradPassManager
        self._replace(manager, "__call__", self._run_passes)
        if asked.providers:
            self._prefer(import_module("vllm.config.kernel").IrOpPriorityConfig)

    def _replace(self, owner: Any, name: str, around: Callable[..., Any]) -> None:
        original = getattr(owner, name, None)
        if original is None:
            warn(f"this vLLM has no {name}: what it would tell is not known")
            return

        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, call)

    # -- pieces -------------------------------------------------------------------------------------------

    def _split(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        split_gm, items = original(*args, **kwargs)
        self.here.split = copy_of_split(split_gm)
        self.names = {id(child): piece_name(name) for name, child in split_gm.named_children()}
        return split_gm, items

    def _read_back(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A warm start: the split graph lies in the artifact, as bytes."""
        state, mode = kwargs.get("state") or args[0], kwargs["fake_mode"]
        function = import_module("vllm.compilation.caching").VllmSerializableFunction
        try:
            self.here.split = function.deserialize_graph_module(state["graph_module"], mode)
        except Exception as error:  # noqa: BLE001  (it is loaded all the same)
            self.here.split = None
            self.hands.journal.write("not_compared", piece="", range="", why=f"its graph cannot be read: {error}"[:300])
        return original(*args, **kwargs)

    def _link(
        self,
        original: Callable[..., Any],
        code: str,
        callables: Mapping[str, Any],
        names: Sequence[str],
        consts: Any = None,
        **kwargs: Any,
    ) -> Any:
        split_gm = getattr(self.here, "split", None)
        self.here.split = None
        if split_gm is None:
            return original(code, callables, names, consts, **kwargs)
        called = {form.format(i): piece_name(one) for i, one in enumerate(names) for form in _CALLED}
        forward = Forward(split_gm, self.hands.eye, piece_name, code, called)
        watched = dict(callables)
        for target, runnable in callables.items():
            backend = getattr(runnable, "runnable", runnable)
            if hasattr(backend, "range_entries"):
                watched[target] = forward.piece(
                    target,
                    lambda args, backend=backend: _span(backend, args),
                    runnable,
                    rebuild=self._rebuilder(split_gm, target, backend),
                    compilation=where().compilation,
                )

        def between(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            number = name.removeprefix(_SUBMODULE)
            return forward.between(names[int(number)], function) if number.isdecimal() else function

        held = Watched(list(consts or []), between)
        return forward.whole(original(watch_functions(code, "__vllm_consts__"), watched, names, held, **kwargs))

    def _rebuilder(self, split_gm: fx.GraphModule, target: str, backend: Any) -> Callable[[str, str], Any]:
        """Compiles a piece anew, with no cache."""

        def rebuild(name: str, span: str) -> Any:
            module = import_module("vllm.compilation.piecewise_backend")
            (wanted,) = (one for one in backend.range_entries if range_name(one.start, one.end) == span)
            graph = copied(getattr(split_gm, target))
            if wanted.is_single_size():
                inputs = module.create_concrete_args(graph, wanted.start)
            else:
                inputs = module.get_fake_args_from_graph(graph)
            engine = backend.vllm_backend
            if engine.pass_key not in engine.inductor_config:  # a warm start has not put its passes in
                engine.configure_post_pass()
            config = {**engine.inductor_config, "force_disable_caches": True}
            manager = engine.compiler_manager
            with manager.compile_context(wanted), torch.no_grad():
                made, _ = manager.compiler.compile(graph, inputs, config, wanted, None)
            return made

        return rebuild

    def _compile(self, original: Callable[..., Any], manager: Any, graph: Any, *args: Any, **kwargs: Any) -> Any:
        span = kwargs.get("compile_range")
        name = self.names.get(id(graph), "")
        self.hands.journal.write("compile", piece=name, range=range_name(span.start, span.end) if span else "")
        return original(manager, graph, *args, **kwargs)

    # -- passes and providers -----------------------------------------------------------------------------

    def _run_passes(self, original: Callable[..., Any], manager: Any, graph: fx.Graph) -> None:
        """Whoever added a pass, and when: here all of them are known."""
        manager.passes = [self._gated(one) for one in manager.passes]
        for name in ("post_cleanup", "ir_lowering", "clone_elimination", "fix_functionalization"):
            if hasattr(manager, name):
                setattr(manager, name, self._gated(getattr(manager, name)))
        original(manager, graph)

    def _gated(self, one: Any) -> Any:
        return one if isinstance(one, _GatedPass) else _GatedPass(one, _name_of(one), self.hands.gate)

    def _prefer(self, config: Any) -> None:
        """Before priorities come into force, put those in that are asked for."""

        def put(priorities: Any) -> None:
            known = import_module("vllm.ir.op").IrOp.registry
            for op, providers in expanded(self.hands.switches.providers, known).items():
                if hasattr(priorities, op):
                    setattr(priorities, op, list(providers))

        set_default, set_priority = config.set_default, config.set_priority

        @wraps(set_default)
        def default(priorities: Any) -> None:
            put(priorities)
            set_default(priorities)

        @contextmanager
        def priority(priorities: Any) -> Generator[None]:
            put(priorities)
            with set_priority(priorities):
                yield

        config.set_default, config.set_priority = default, priority


@contextmanager
def _native() -> Generator[None]:
    """Within it, vLLM's IR runs native implementations."""
    with ExitStack() as stack:
        for op in import_module("vllm.ir.op").IrOp.registry.values():
            stack.enter_context(op.set_priority(["native"]))
        yield


class _GatedPass:
    """A pass of vLLM behind the gate; in all else it is the pass.

    A pass that does not announce its graphs itself (a user's own) is announced here, so that it has a row in the dump.
    """

    def __init__(self, one: Any, name: str, gate: Gate) -> None:
        self.one = one
        self.pass_name = name
        self.gate = gate

    def __call__(self, graph: fx.Graph) -> None:
        with self.gate.run(self.pass_name, self.pass_name in _ALWAYS) as is_let:
            if is_let:
                self._run(graph)

    def _run(self, graph: fx.Graph) -> None:
        if hasattr(self.one, "pass_name"):
            self.one(graph)
            return
        announce = torch_internals.lazy_format_graph_code()
        number = import_module("vllm.compilation.passes.vllm_inductor_pass").VllmInductorPass.dump_prefix
        place = f"post_grad.{number}" if number is not None else "post_grad"
        announce(f"{place}.{self.pass_name}.before", graph.owning_module)
        self.one(graph)
        announce(f"{place}.{self.pass_name}.after", graph.owning_module)

    def __getattr__(self, name: str) -> Any:
        if name in ("one", "gate"):
            raise AttributeError(name)
        return getattr(self.one, name)


def _name_of(one: Any) -> str:
    """What the dump calls a pass."""
    known = getattr(one, "pass_name", None)
    if isinstance(known, str):
        return known
    function = getattr(one, "callable", None)
    return str(getattr(function, "__name__", None) or type(one).__name__)


def _span(backend: Any, args: Sequence[Any]) -> str:
    """The compile range that a call's arguments are in, as vLLM finds it."""
    if backend.sym_shape_indices:
        found = backend._find_range_for_shape(args[backend.sym_shape_indices[0]])
        span = found.compile_range if found is not None else None
    else:
        span = next((key for key, entry in backend.range_entries.items() if entry.compiled), None)
    return range_name(span.start, span.end) if span is not None else ""
