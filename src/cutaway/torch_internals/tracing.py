"""Tracing a function into ATen ops, and what besides its arguments tracing looks at."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import fx

from cutaway.torch_internals.settings import settings_now

Decompositions = tuple[tuple[Any, Callable[..., Any] | None], ...]


def trace_forward(function: Callable[..., Any], args: Sequence[Any]) -> tuple[fx.GraphModule, Decompositions]:
    """A function as a graph of ATen ops, nothing simplified (``fwd_only`` in torch/_inductor/pattern_matcher.py).

    Nothing is dropped because nobody reads it: it may write to what it is given.

    Returns:
        The graph; and which of Inductor's decompositions it owes to: operator -> function, None for operators in the
        graph that have none.
    """
    from torch._inductor.pattern_matcher import fwd_only  # noqa: PLC0415  (Inductor is heavy)
    from torch.fx._lazy_graph_module import _use_lazy_graph_module  # noqa: PLC0415  (private: kept in one place)

    table = _modules().decompositions()
    noting = _noting(table)
    _noted.used = {}
    with _use_lazy_graph_module(True):  # nobody runs it: its code need not be generated
        gm = fwd_only(function, args, run_functional_passes=False, get_decomp_fn=lambda: noting)
    called = [node.target for node in gm.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return gm, tuple({op: table.get(op) for op in called}.items() | _noted.used.items())


class _Noted(threading.local):
    """The decompositions that were called in the trace on this thread."""

    used: dict[Any, Callable[..., Any]]


_noted = _Noted()
_noting_tables: dict[int, tuple[Any, dict[Any, Callable[..., Any]]]] = {}


def _noting(table: dict[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """A table of decompositions that notes which of them are called. Making one takes as long as a small trace."""
    state = (len(table), next(reversed(table), None))  # what is added to a dict comes last
    known = _noting_tables.get(id(table))
    if known is None or known[0] != state:
        known = _noting_tables[id(table)] = (state, {op: _noting_call(table, op) for op in table})
    return known[1]


def _noting_call(table: dict[Any, Callable[..., Any]], op: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        decomposition = _noted.used[op] = table[op]
        return decomposition(*args, **kwargs)

    return call


def still_decomposed(decompositions: Decompositions) -> bool:
    """Whether Inductor would take operators apart as it did when something was traced."""
    table = _modules().decompositions()
    return all(table.get(op) is decomposition for op, decomposition in decompositions)


def fake_mode_of_compile() -> Any:
    """The fake mode of the graph that Inductor compiles on this thread; None outside of a compile."""
    modules = _modules()
    mode = modules.virtualized.fake_mode
    return None if isinstance(mode, modules.null) else mode


@contextmanager
def no_new_guards(shape_env: Any) -> Generator[None]:
    """Within the block, what could only be answered by a new guard is an error (``ShapeEnv.error_on_new_guards``).

    :func:`open_question` tells such an error from others. torch warns of each, which is kept quiet: it is expected.
    """
    if shape_env is None:
        yield
        return
    shapes = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread or not str(record.msg).startswith("failed during evaluate_expr")

    shapes.addFilter(others)
    try:
        with shape_env.error_on_new_guards():
            yield
    finally:
        shapes.removeFilter(others)


_FROZEN = "Guard attempted while ShapeEnv guards are frozen: "


def open_question(error: BaseException) -> str | None:
    """What was asked of a symbolic size that cannot be told without a new guard; None for any other error."""
    from torch.fx.experimental import symbolic_shapes  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, symbolic_shapes._ShapeEnvGuardError):
            asked, _, answer = str(seen).removeprefix(_FROZEN).rpartition(" == ")
            return asked if answer in ("True", "False") else f"the value of {asked}"
        if isinstance(seen, symbolic_shapes.GuardOnDataDependentSymNode):
            return str(seen.cond)
        seen = seen.__cause__ or seen.__context__
    return None


def is_traced_into() -> bool:
    """Whether nodes made now would get metadata of a node that is being interpreted (torch/fx/traceback.py)."""
    from torch.fx import traceback  # noqa: PLC0415  (only when compiling)

    return bool(traceback.current_meta)


def ambient_of_tracing() -> tuple[Any, ...] | None:
    """What decides what a function is traced into, besides the function and its arguments; hashable.

    None when a mode is on that may do anything to what is traced.
    """
    if not _only_known_modes():
        return None
    return (
        torch.get_default_dtype(),
        torch.get_default_device() if torch._C._len_torch_function_stack() else None,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.compiler.is_compiling(),
        torch.compiler.is_exporting(),
        tuple((kind, torch.get_autocast_dtype(kind)) for kind in _AUTOCAST if torch.is_autocast_enabled(kind)),
        _backends(),
        settings_now(),
        _modules().inductor.trace.provenance_tracking_level,
    )


_AUTOCAST = ("cpu", "cuda", "xpu", "mps", "hpu")


def _only_known_modes() -> bool:
    if not torch._C._len_torch_function_stack() and not torch._C._len_torch_dispatch_stack():
        return True
    from torch.overrides import _get_current_function_mode_stack  # noqa: PLC0415  (private: kept in one place)
    from torch.utils._device import DeviceContext  # noqa: PLC0415
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack  # noqa: PLC0415

    functions = _get_current_function_mode_stack()
    return all(type(mode) is DeviceContext for mode in functions) and all(
        type(mode) is torch._subclasses.FakeTensorMode for mode in _get_current_dispatch_mode_stack()
    )


def _backends() -> tuple[Any, ...]:
    """Switches by which composite operators choose what they are made of (scaled dot product attention, say)."""
    found = [
        torch._C._get_cudnn_enabled(),
        torch._C._get_mkldnn_enabled(),
        torch._C._get_flash_sdp_enabled(),
        torch._C._get_mem_efficient_sdp_enabled(),
        torch._C._get_math_sdp_enabled(),
        torch._C._get_cudnn_sdp_enabled(),
        torch.get_float32_matmul_precision(),
    ]
    return tuple(found)


class _Modules(NamedTuple):
    inductor: Any
    decompositions: Callable[[], dict[Any, Callable[..., Any]]]
    virtualized: Any
    null: type


@functools.cache
def _modules() -> _Modules:
    """What is looked at in every graph; looking it up by import would be a good part of that."""
    import torch._inductor.config as inductor  # noqa: PLC0415  (Inductor is heavy)
    from torch._inductor.decomposition import select_decomp_table  # noqa: PLC0415
    from torch._inductor.virtualized import NullHandler, V  # noqa: PLC0415

    return _Modules(inductor, select_decomp_table, V, NullHandler)


def copied_fields() -> tuple[str, ...]:
    """The metadata that a node made in the place of another takes over (``_transfer_meta`` in the pattern matcher)."""
    from torch.fx.proxy import _COPY_META_FIELDS  # noqa: PLC0415  (private: kept in one place)

    return (*_COPY_META_FIELDS, "stack_trace")


def replaced_by(node: fx.Node, pass_name: str) -> Any:
    """The note that a node made in the place of another carries in ``from_node`` (torch/fx/traceback.py).

    Its own history hangs on it by reference; torch copies it all, which takes 10 us and more.
    """
    from torch.fx.traceback import NodeSource, NodeSourceAction  # noqa: PLC0415  (only when compiling)

    note = NodeSource(None, pass_name, NodeSourceAction.REPLACE)
    note.node_info = NodeSource.NodeInfo(node.name, str(node.target), id(node.graph))
    note.from_node = node.meta.get("from_node") or []
    return note


def name_for(graph: fx.Graph, target: Any) -> str:
    """What a graph would name a node that calls this, before it makes the name unique (torch/fx/graph.py)."""
    return graph._target_to_str(target)


def new_call(graph: fx.Graph, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> fx.Node:
    """``graph.create_node("call_function", ...)`` without its search for raw symbolic numbers among the arguments.

    torch/fx/graph.py; the search, for a warning, takes half of its time. The arguments are nodes and constants.
    """
    made = fx.Node(graph, graph._graph_namespace.create_name(name, None), "call_function", target, args, kwargs)
    for hook in getattr(graph.owning_module, "_create_node_hooks", None) or ():
        hook(made)
    graph._graph_namespace.associate_name_with_obj(made.name, made)
    graph._insert(made)
    graph._find_nodes_lookup_table.insert(made)
    graph._len += 1
    return made


def unused_attribute(gm: fx.GraphModule, name: str) -> str:
    """A name for a new attribute of a graph's module (torch/_higher_order_ops/utils.py)."""
    return next(found for found in (name, *(f"{name}_{number}" for number in range(1 << 20))) if not hasattr(gm, found))


@contextmanager
def in_mode(mode: Any) -> Generator[None]:
    """Within the block, tensors that are made are fake ones of this mode; nothing changes without one."""
    with mode if mode is not None else contextlib.nullcontext():
        yield
