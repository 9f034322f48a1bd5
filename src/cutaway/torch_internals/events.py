"""Where a compile tells what it does, and what it is about."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import fx

from cutaway.torch_internals.swap import loaded, patch_method


def trace_structured() -> FunctionType:
    """torch/_logging/_internal.py: every stage reports here, handlers or not; tlparse lives on it."""
    return torch._logging._internal.trace_structured  # pyright: ignore[reportReturnType]


def lazy_format_graph_code() -> FunctionType:
    """torch/fx/_utils.py: called with the live graph at each stage; only the text is lazy. depyf's hook."""
    return torch.fx._utils.lazy_format_graph_code  # pyright: ignore[reportReturnType]


def watch_passes(
    entered: Callable[[fx.GraphModule], None], left: Callable[[fx.GraphModule, str, Any], None]
) -> Callable[[], None] | None:
    """Have these called around every named pass of Inductor; returns the undo, None before torch has loaded it.

    torch/fx/passes/graph_transform_observer.py: ``GraphTransformObserver`` is entered and left around each. ``left``
    gets the pass's name, and the class of what it raised or None.
    """
    module = loaded("torch.fx.passes.graph_transform_observer")
    if module is None:
        return None

    def enter(original: Callable[..., Any]) -> Callable[..., Any]:
        def enter_pass(observer: Any) -> Any:
            result = original(observer)
            entered(observer.gm)
            return result

        return enter_pass

    def leave(original: Callable[..., Any]) -> Callable[..., Any]:
        def leave_pass(observer: Any, *error: Any) -> Any:
            left(observer.gm, observer.passname, error[0] if error else None)
            return original(observer, *error)

        return leave_pass

    undo_enter = patch_method(module.GraphTransformObserver, "__enter__", enter)
    undo_leave = patch_method(module.GraphTransformObserver, "__exit__", leave)

    def undo() -> None:
        undo_leave()
        undo_enter()

    return undo


def watch_nodes(
    gm: fx.GraphModule,
    made: Callable[[fx.Node], None],
    replaced: Callable[[fx.Node, str, fx.Node], None],
    erased: Callable[[fx.Node], None],
) -> Callable[[], None]:
    """Have torch call these when a node of ``gm`` is made, read in another's place, or erased; returns the undo.

    torch/fx/graph_module.py, ``_register_create_node_hook`` and its like. ``replaced`` is called for every reader,
    with ``old``, the name of the ``new`` node, and the reader as ``user``.
    """
    hooks = {"_create_node_hooks": made, "_replace_hooks": replaced, "_erase_node_hooks": erased}
    placed = [(getattr(gm, name), hook) for name, hook in hooks.items() if isinstance(getattr(gm, name, None), list)]
    for hooks_of_graph, hook in placed:
        hooks_of_graph.append(hook)

    def undo() -> None:
        for hooks_of_graph, hook in placed:
            if hook in hooks_of_graph:
                hooks_of_graph.remove(hook)

    return undo


def kernel_provenance() -> FunctionType | None:
    """torch/_inductor/debug.py: called for every kernel with the nodes that it was made of, even when off."""
    module = loaded("torch._inductor.debug")
    function = getattr(module, "set_kernel_post_grad_provenance_tracing", None)
    return function if isinstance(function, FunctionType) else None


class KernelNodes(NamedTuple):
    """Names of the last graph's nodes that one call of a kernel computes.

    Attributes:
        nodes: in graph order.
        doubtful: those of them that may only have asked for what the kernel computes.
        claimed: those that a library or a template computes: no other kernel does.
    """

    nodes: list[str]
    doubtful: frozenset[str]
    claimed: frozenset[str]


def kernel_nodes(node_schedule: Any, is_extern: bool) -> KernelNodes:
    """What a kernel computes (``node_schedule`` as Inductor passes it).

    ``origins`` (torch/_inductor/ir.py) says more than that: of a call of a library, the unfused producers of its
    inputs; of a generated kernel, the node that asked for its result. ``origin_node``, where there is one, is exactly
    the node whose value is computed; what comes after it, or does not lead to it, is computed elsewhere.
    """
    parts = [node_schedule] if is_extern else [getattr(scheduled, "node", None) for scheduled in node_schedule]
    certain: set[fx.Node] = set()
    doubtful: set[fx.Node] = set()
    claimed: set[fx.Node] = set()
    for part in filter(None, parts):
        found, is_certain = _computed(part, is_extern)
        (certain if is_certain else doubtful).update(found)
        if is_extern or any(cls.__name__ == "TemplateBuffer" for cls in type(part).__mro__):
            claimed.update(found if is_certain else ())
    doubtful -= certain
    names = [node.name for node in _in_order(certain | doubtful)]
    return KernelNodes(names, frozenset(n.name for n in doubtful), frozenset(n.name for n in claimed))


def _computed(part: Any, is_extern: bool) -> tuple[list[fx.Node], bool]:
    """The nodes that a part of a kernel computes, and whether that is certain."""
    origins: list[fx.Node] = list(getattr(part, "origins", ()))
    result: fx.Node | None = getattr(part, "origin_node", None)
    if not _one_graph(origins if result is None else [result, *origins]):
        return origins, False
    if is_extern:  # made while the call itself was lowered, which comes after all that it reads
        return [result] if result is not None else sorted(origins)[-1:], True
    if result is None:
        return origins, False
    return _leading_to(result, {origin for origin in origins if not result < origin}), True


def _leading_to(result: fx.Node, wanted: set[fx.Node]) -> list[fx.Node]:
    """Those of ``wanted`` that are ``result`` or inputs of it, also through others."""
    wanted = {*wanted, result}
    first = min(wanted)
    seen, open_nodes = {result}, [result]
    while open_nodes:
        for node in open_nodes.pop().all_input_nodes:
            if node not in seen and not node < first:
                seen.add(node)
                open_nodes.append(node)
    return [node for node in wanted if node in seen]


def _one_graph(nodes: Iterable[fx.Node]) -> bool:
    return len({id(node.graph) for node in nodes}) <= 1


def _in_order(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    """Nodes by their place in the graph; of several graphs (branches of ``torch.cond``), one graph after another."""
    graphs: dict[int, list[fx.Node]] = {}
    for node in nodes:
        graphs.setdefault(id(node.graph), []).append(node)
    groups = [sorted(group) for group in graphs.values()]
    return [node for group in sorted(groups, key=lambda group: [node.name for node in group]) for node in group]


_capture = threading.local()


@contextmanager
def _capturing() -> Generator[list[fx.GraphModule]]:
    _capture.graphs = graphs = []
    try:
        yield graphs
    finally:
        _capture.graphs = None


def capture_print_readable() -> Callable[[], None]:
    """Let :func:`graph_of_payload` see which graph a payload would print. Returns the undo."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def print_readable(self: fx.GraphModule, *args: Any, **kwargs: Any) -> Any:
            graphs = getattr(_capture, "graphs", None)
            if graphs is None:
                return original(self, *args, **kwargs)
            graphs.append(self)
            return ""

        return print_readable

    return patch_method(fx.GraphModule, "print_readable", make)


def graph_of_payload(payload_fn: Callable[[], Any]) -> fx.GraphModule | None:
    """The graph that a structured-trace payload is about: exact, and nothing is formatted.

    The payload is called while ``print_readable`` only notes its ``self`` (this thread alone).
    """
    with _capturing() as graphs:
        payload_fn()
    return graphs[-1] if graphs else None


def text_of_cached_graph(payload_fn: Callable[[], Any]) -> str | None:
    """The text of a structured-trace payload about a graph that AOTAutograd's cache has served; None for another.

    torch/_functorch/_aot_autograd/aot_autograd_result.py, ``_log_cached_graphs``: there is no graph then, and the text
    was made when there was one.
    """
    if "_log_cached_graphs" not in getattr(payload_fn, "__qualname__", ""):
        return None
    text = payload_fn()
    return text if isinstance(text, str) else None


def aot_key_of_load() -> str | None:
    """The key of AOTAutograd's cache under which the artifact that is being loaded on this stack was found.

    torch/_functorch/_aot_autograd/autograd_cache.py, ``try_load``, says it after the artifact is loaded.
    """
    found = caller(lambda names: "aot_config" in names and "cache_info" in names and "cache_key" in names)
    key = found["cache_key"] if found is not None else None
    return key if isinstance(key, str) else None


def current_compile_id() -> str | None:
    """Dynamo's id of the compile on this thread, such as ``0/1`` (frame 0, second compile)."""
    compile_id = torch._guards.CompileContext.current_compile_id()
    return str(compile_id) if compile_id is not None else None


def caller(match: Callable[[dict[str, Any]], bool], depth: int = 25) -> dict[str, Any] | None:
    """Locals of the nearest calling frame that ``match`` accepts, at most ``depth`` frames up.

    Used at the few places where torch names a fact (which function, forward or backward) only in a local.
    """
    frame = sys._getframe(1)
    for _ in range(depth):
        if frame is None:
            return None
        if match(frame.f_locals):
            return frame.f_locals
        frame = frame.f_back
    return None


def phase_in_inductor() -> str | None:
    """What Inductor compiles a graph for on this stack: ``inference``, ``forward`` or ``backward``; None when unknown.

    torch/_inductor/compile_fx.py, ``_InProcessFxCompile.codegen_and_compile``, has it in locals.
    """
    found = caller(lambda names: "is_backward" in names and "is_inference" in names)
    if found is None:
        return None
    if found["is_backward"]:
        return "backward"
    return "inference" if found["is_inference"] else "forward"


def captured_function() -> tuple[CodeType, dict[str, Any]] | None:
    """Code object and argument values of the function that Dynamo has just captured on this stack."""
    found = caller(lambda names: type(names.get("self")).__name__ == "OutputGraph", depth=30)
    if found is None:
        return None
    translator = found["self"].root_tx
    code, values = translator.f_code, dict(getattr(translator, "f_locals", {}) or {})
    if code.co_filename == torch._dynamo.external_utils.__file__ and "fn" in values:
        return _wrapped(code, values["fn"])
    return code, values


def _wrapped(code: CodeType, function: Any) -> tuple[CodeType, dict[str, Any]]:
    """What a frame of torch/_dynamo/external_utils.py stands around: a module or function of torch itself."""
    if isinstance(function, torch.nn.Module):
        return type(function).forward.__code__, {"self": function}
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return getattr(function, "__code__", code.replace(co_name=name, co_qualname=name)), {}


def graph_break_of(gm: fx.GraphModule) -> str | None:
    """Why Dynamo ended this graph early (torch/_dynamo/output_graph.py, GraphCompileReason), if it did."""
    reason = getattr(gm, "compile_subgraph_reason", None)
    if reason is None or not getattr(reason, "graph_break", False):
        return None
    stack = getattr(reason, "user_stack", None) or []
    where = f" at {stack[-1].filename}:{stack[-1].lineno}: {stack[-1].line}" if stack else ""
    return f"{reason.reason}{where}"
