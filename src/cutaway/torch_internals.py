"""The only file that touches torch's private API.

Each entry says why it is needed and where upstream it stands. Read in torch 2.13; every function degrades to
"nothing seen" when a name is gone, because a recorder must never end the run that it watches.

Two techniques reach functions that other modules imported by name, where replacing a module's attribute would
miss the copies:

* ``swap_code``: the function *object* is shared by all copies, so its ``__code__`` is replaced by a shim that
  calls a handler with the original (a clone of the function). depyf does the same to one function; the two can
  be on at once as long as they are switched off in the reverse order.
* patching a method on a class reaches every instance and every importer.
"""

# This file is where private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import fx

Handler = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_SHIM = """def {name}(*args, **kwargs):
    from cutaway.torch_internals import dispatch
    return dispatch({key}, args, kwargs)
"""
_handlers: dict[int, tuple[Handler, Callable[..., Any]]] = {}
_keys = count()


@dataclass
class _Layer:
    """Something of ours that lies over a function or method, perhaps with another of ours over it."""

    on_top: Callable[[], bool]
    take_off: Callable[[], None]
    over: bool = False


_piles: dict[Any, list[_Layer]] = {}


def _lay(place: Any, layer: _Layer) -> Callable[[], None]:
    """Returns the undo: recordings that overlap may end in any order, and the last one leaves nothing behind."""
    pile = _piles.setdefault(place, [])
    pile.append(layer)

    def undo() -> None:
        layer.over = True
        while pile and pile[-1].over and pile[-1].on_top():
            pile.pop().take_off()

    return undo


def dispatch(key: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the shim of :func:`swap_code` calls: ``handler(original, args, kwargs)``."""
    handler, original = _handlers[key]
    return handler(original, args, kwargs)


def swap_code(function: FunctionType, handler: Handler) -> Callable[[], None]:
    """Let every call of ``function``, through whatever name, go to ``handler(original, args, kwargs)``.

    The shim bears the original's file name, because Dynamo decides by file what it traces. Returns the undo.
    """
    key = next(_keys)
    old = function.__code__
    original = FunctionType(old, function.__globals__, function.__name__, function.__defaults__, None)
    original.__kwdefaults__ = function.__kwdefaults__
    _handlers[key] = (handler, original)
    module = compile(_SHIM.format(name=function.__name__, key=key), old.co_filename, "exec")
    shim = next(const for const in module.co_consts if isinstance(const, CodeType))
    function.__code__ = shim
    take_off = functools.partial(setattr, function, "__code__", old)
    take_away = _lay(function, _Layer(lambda: function.__code__ is shim, take_off))

    def undo() -> None:
        # A thread may be inside the shim, and somebody may have swapped after us: the way through stays open.
        _handlers[key] = (lambda call, args, kwargs: call(*args, **kwargs), original)
        take_away()

    return undo


def patch_method(owner: type, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Replace ``owner.name`` by ``make(original)``. Returns the undo."""
    own = name in vars(owner)
    original = vars(owner)[name] if own else getattr(owner, name)
    replacement = make(original)
    setattr(owner, name, replacement)

    def take_off() -> None:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)

    return _lay((owner, name), _Layer(lambda: vars(owner).get(name) is replacement, take_off))


def loaded(module: str) -> ModuleType | None:
    """A module when it is imported already: a hook never imports what the program did not."""
    return sys.modules.get(module)


# -- where a compile tells what it does ---------------------------------------------------------------------


def trace_structured() -> FunctionType:
    """torch/_logging/_internal.py: every stage reports here, handlers or not; tlparse lives on it."""
    return torch._logging._internal.trace_structured  # pyright: ignore[reportReturnType]


def lazy_format_graph_code() -> FunctionType:
    """torch/fx/_utils.py: called with the live graph at each stage; only the text is lazy. depyf's hook."""
    return torch.fx._utils.lazy_format_graph_code  # pyright: ignore[reportReturnType]


def graph_transform_observer() -> type | None:
    """torch/fx/passes/graph_transform_observer.py: entered and left around every named Inductor pass."""
    module = loaded("torch.fx.passes.graph_transform_observer")
    return module.GraphTransformObserver if module else None


def compiled_fx_graph() -> type | None:
    """torch/_inductor/output_code.py: ``post_compile`` runs on a miss and on a hit, with the source code."""
    module = loaded("torch._inductor.output_code")
    return module.CompiledFxGraph if module else None


def kernel_provenance() -> FunctionType | None:
    """torch/_inductor/debug.py: called for every kernel with the nodes that it was made of, even when off."""
    module = loaded("torch._inductor.debug")
    function = getattr(module, "set_kernel_post_grad_provenance_tracing", None)
    return function if isinstance(function, FunctionType) else None


def kernel_origins(node_schedule: Any, is_extern: bool) -> list[str]:
    """Names of the last graph's nodes that a kernel was made of (``node_schedule`` as Inductor passes it)."""
    if is_extern:
        origin = getattr(node_schedule, "origin_node", None)
        found = [origin] if origin is not None else list(getattr(node_schedule, "origins", ()))
    else:
        found = [
            origin
            for scheduled in node_schedule
            if getattr(scheduled, "node", None) is not None
            for origin in scheduled.node.origins
        ]
    return list(dict.fromkeys(node.name for node in found))


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


# -- what is being compiled ---------------------------------------------------------------------------------


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


# -- symbols ------------------------------------------------------------------------------------------------


def expression(size: Any) -> Any:
    """The sympy expression behind a SymInt, SymFloat or SymBool."""
    return size.node.expr


def shape_env_of(gm: fx.GraphModule) -> Any:
    """The ShapeEnv that the graph's symbolic sizes belong to, or None when all sizes are numbers."""
    for node in gm.graph.nodes:
        if node.op != "placeholder":
            break
        value = node.meta.get("val")
        value = node.meta.get("example_value") if value is None else value
        if isinstance(value, torch.SymInt):
            return value.node.shape_env
        if isinstance(value, torch.Tensor):
            for size in value.shape:
                if isinstance(size, torch.SymInt):
                    return size.node.shape_env
    return None


def symbol_facts(shape_env: Any, symbol: Any) -> dict[str, Any]:
    """Range, example value and source of one symbol (sympy Symbol) of a ShapeEnv."""
    facts: dict[str, Any] = {"min": None, "max": None, "hint": None, "source": None}
    bounds = shape_env.var_to_range.get(symbol)
    if bounds is not None:
        facts["min"], facts["max"] = _finite(bounds.lower), _finite(bounds.upper)
    values = getattr(shape_env, "backed_var_to_val", None)
    known = (values if values is not None else shape_env.var_to_val).get(symbol)
    facts["hint"] = int(known) if known is not None else None
    sources = shape_env.var_to_sources.get(symbol)
    if sources:
        name = sources[0].name
        facts["source"] = name() if callable(name) else name
    return facts


def _finite(bound: Any) -> int | None:
    text = str(bound)
    return int(text) if text.lstrip("-").isdigit() and abs(int(text)) < sys.maxsize - 1 else None


def shape_guards(shape_env: Any) -> list[tuple[str, str]]:
    """Every constraint that tracing put on symbolic sizes: (expression, ``file:line``), the user's line if known."""
    return [(str(guard.expr), _location(getattr(guard, "sloc", None))) for guard in shape_env.guards]


def _location(sloc: Any) -> str:
    """``file:line`` of a ShapeGuard's SLoc (torch/_logging/_internal.py), which holds text or a stack's frame."""
    for frame in (getattr(sloc, "user_loc", None), getattr(sloc, "framework_loc", None)):
        if frame is None:
            continue
        if isinstance(frame, str):
            return frame.strip()
        last = frame[-1] if isinstance(frame, list) else frame
        return f"{last.filename}:{last.lineno}"
    return ""


def hint(size: Any) -> int:
    """The number that a size was captured with; a plain number as it is. Adds no guard."""
    if isinstance(size, int):
        return int(size)
    known = size.node.hint
    return int(known) if known is not None else 8


def no_tracing_fake_mode() -> Any:
    """A fake mode of its own, apart from the compile's: tensors in it have sizes and no memory."""
    return torch._subclasses.FakeTensorMode()


def python_expression(size: Any) -> str:
    """A SymInt's expression as Python that computes it from its symbols (torch/utils/_sympy/printers.py)."""
    return _printed(expression(size))


@functools.lru_cache(maxsize=4096)
def _printed(expr: Any) -> str:
    from torch.utils._sympy.printers import PythonPrinter  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    return PythonPrinter().doprint(expr)


# -- operators ----------------------------------------------------------------------------------------------


def calls(graph: fx.Graph) -> list[tuple[fx.Node, Any, tuple[Any, ...], dict[str, Any]]]:
    """Every node with what it calls and with what, by reference.

    It is asked twice for each pass; the public properties ``args`` and ``kwargs`` are Python functions, and slower.
    """
    return [(node, node.target, node._args, node._kwargs) for node in graph.nodes]


def op_overload(target: Any) -> Any:
    """The OpOverload behind a node's target: itself, a packet's default, or None for a Python function."""
    if isinstance(target, torch._ops.OpOverload):
        return target
    if isinstance(target, torch._ops.OpOverloadPacket):
        return getattr(target, target.overloads()[0])
    return None


def is_higher_order(target: Any) -> bool:
    """Whether the target is a higher-order operator (cond, auto_functionalized, triton wrappers, ...)."""
    return isinstance(target, torch._ops.HigherOrderOperator)


def module_that_registers(overload: Any) -> str | None:
    """The Python module whose import registers a custom operator, as far as torch knows it.

    ``torch.library.custom_op`` keeps the function (torch/_library/custom_ops.py); a bare ``Library.define`` leaves
    its Python kernels in the library's table, or its fake implementation (torch/_library/simple_registry.py).
    """
    name = overload.name().removesuffix(".default")
    definition = torch._library.custom_ops.OPDEFS.get(name)
    if definition is not None:
        return definition._init_fn.__module__
    entry = torch._library.simple_registry.singleton.get(name)
    holder = getattr(entry, "fake_impl", None)
    kernels = list(getattr(holder, "kernels", None) or [getattr(holder, "kernel", None)])
    functions = [getattr(kernel, "func", None) for kernel in kernels]
    functions += list(getattr(overload, "py_kernels", {}).values())
    for function in functions:
        module = getattr(getattr(function, "__wrapped__", function), "__module__", None)
        if module is not None and not module.startswith("torch."):
            return module
    return None


def opaque_value(value: Any) -> Any:
    """The real object behind a fake script object (torch/_library/fake_class_registry.py); others as they are."""
    if type(value).__name__ == "FakeScriptObject":
        return object.__getattribute__(value, "real_obj")
    return value


def opaque_expression(value: Any) -> tuple[str, dict[str, Any]] | None:
    """An expression that makes an equal object, and the names in it (``__fx_repr__``), when the object has one."""
    describe = getattr(value, "__fx_repr__", None)
    return describe() if describe is not None else None


def import_block(globals_used: dict[str, Any]) -> str:
    """Import statements for the globals that an fx graph's code refers to (torch/fx/graph_module.py)."""
    from torch.fx.graph_module import _format_import_block  # noqa: PLC0415  (private: kept in one place)
    from torch.package import sys_importer  # noqa: PLC0415

    return _format_import_block(globals_used, sys_importer)


def takes_plain_arguments(graph: fx.Graph) -> bool:
    """Whether a graph's code takes its inputs one by one (torch/fx/graph.py, CodeGen), not as nested lists."""
    return type(graph._codegen) is torch.fx.graph.CodeGen


def tensor_constant(value: torch.Tensor) -> bytes | None:
    """Bytes of a small real tensor that a graph holds as an attribute; None for fake, meta or large ones."""
    fake = isinstance(value, torch._subclasses.FakeTensor)
    if fake or value.is_meta or value.device.type != "cpu" or value.numel() > 4096:
        return None
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.no_grad():
        flat = value.detach().contiguous().reshape(-1)
        return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""
