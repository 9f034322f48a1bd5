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

import contextlib
import copy
import ctypes
import functools
import io
import platform
import re
import sys
import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, ModuleType
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
    for frame in (getattr(sloc, "maybe_user_loc", None), getattr(sloc, "framework_loc", None)):
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


# -- capture ------------------------------------------------------------------------------------------------


def is_region_call(node: fx.Node) -> bool:
    """Whether a node calls a compile region (``torch.compiler.nested_compile_region``)."""
    return node.op == "call_function" and node.target is torch.ops.higher_order.invoke_subgraph


def storage_of(value: torch.Tensor) -> int:
    """Identity of a (fake) tensor's memory: equal for views of one tensor."""
    return value.untyped_storage()._cdata


def fake_mode_of(value: torch.Tensor) -> Any:
    """The mode that a fake tensor belongs to; None for a real one."""
    return getattr(value, "fake_mode", None)


def fake_like(value: Any) -> torch.Tensor:
    """A fake tensor of the same kind with memory of its own; made directly, half as dear as by an op in the mode."""
    from torch._subclasses.fake_tensor import FakeTensor  # noqa: PLC0415  (only when capturing)

    meta = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return FakeTensor(value.fake_mode, meta.requires_grad_(value.requires_grad), value.device)


def without_guards(fake_mode: Any) -> Any:
    """Within the block, what is asked of symbolic sizes adds no guard (ShapeEnv.suppress_guards)."""
    shape_env = fake_mode.shape_env
    return shape_env.suppress_guards() if shape_env is not None else contextlib.nullcontext()


# -- Inductor's artifacts -----------------------------------------------------------------------------------


def patch_cpp_kernels(make: Callable[[Any], Any]) -> Callable[[], None]:
    """Put ``make(original)`` in the place of ``AsyncCompile.cpp_pybinding(argtypes, source)``; returns the undo.

    Generated code calls it for every C++ kernel; torch has no hook there (torch/_inductor/async_compile.py).
    """
    from torch._inductor.async_compile import AsyncCompile  # noqa: PLC0415  (Inductor is heavy)

    return patch_method(AsyncCompile, "cpp_pybinding", make)


def library_of_kernel(kernel: Any) -> str | None:
    """The shared library that a C++ kernel (or the future of one) was loaded from."""
    result = kernel.result() if hasattr(kernel, "result") else kernel
    return getattr(getattr(result, "__self__", None), "__file__", None)


def load_cpp_kernel(library: Path, name: str) -> Any:
    """A C++ kernel out of its shared library, as ``CppPythonBindingsCodeCache`` would load what it has just built."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache  # noqa: PLC0415  (Inductor is heavy)

    return CppPythonBindingsCodeCache._load_library_inner(str(library), name).kernel


def serialize_artifact(artifact: Any) -> bytes:
    """A ``standalone_compile(aot=True)`` artifact as bytes; its own ``save`` adds a header that we keep ourselves."""
    return artifact.serialize()


def deserialize_artifact(data: bytes) -> Callable[..., Any]:
    """What :func:`serialize_artifact` wrote, runnable (torch/_inductor/standalone_compile.py)."""
    from torch._inductor.standalone_compile import AOTCompiledArtifact  # noqa: PLC0415  (Inductor is heavy)

    return AOTCompiledArtifact.deserialize(data)


@functools.cache
def inductor_source_key() -> str:
    """A digest of torch's own compiler sources (torch/_inductor/codecache.py, ``torch_key``)."""
    from torch._inductor.codecache import torch_key  # noqa: PLC0415  (Inductor is heavy)

    return torch_key().hex()


def mode_of_inputs(inputs: Sequence[Any]) -> Any:
    """The fake mode that a piece's example inputs belong to, or None when none of them is a fake tensor."""
    modes = (fake_mode_of(value) for value in inputs if isinstance(value, torch.Tensor))
    return next(filter(None, modes), None)


# -- Dynamo's ahead-of-time compile (torch/_dynamo/aot_compile.py) ------------------------------------------


def drop_guards(entries: Sequence[Any]) -> list[bool]:
    """``guard_filter_fn`` that keeps none (``torch.compiler.skip_all_guards_unsafe``)."""
    return [False for _ in entries]


def keep_guards(entries: Sequence[Any]) -> list[bool]:
    """``guard_filter_fn`` that keeps those on sizes: what a graph was specialised on."""
    return [entry.guard_type == "SHAPE_ENV" for entry in entries]


def patched_dynamo(**settings: Any) -> Any:
    """Within the block, ``torch._dynamo.config`` has these settings."""
    return torch._dynamo.config.patch(**settings)


def size_oblivious() -> Any:
    """Within the block, questions about 0 and 1 are answered as if a backed size were large."""
    import torch.fx.experimental._config as config  # noqa: PLC0415  (only then)

    return config.patch(backed_size_oblivious=True)


def compile_lock() -> contextlib.AbstractContextManager[Any]:
    """Dynamo's own lock, which its ahead-of-time compile does not take: one compile at a time in a process."""
    from torch._dynamo import convert_frame  # noqa: PLC0415  (Dynamo is heavy)

    return convert_frame.compile_lock


def forget_zero_one(shape_env: Any) -> None:
    """Let no guard say that a backed size is at least 2: that is Dynamo's assumption, not the graph's demand.

    For guards that are made after this (vLLM's ``VllmBackend`` does the same).
    """
    from torch.utils._sympy.value_ranges import ValueRanges  # noqa: PLC0415  (sympy: only when sizes are symbolic)

    for symbol, found in list(shape_env.var_to_range.items()):
        if found.lower == 2:
            shape_env.var_to_range[symbol] = ValueRanges(0, found.upper)
        # torch's own cache adds this one where another run had taken the size to be so.
        shape_env.guards[:] = [guard for guard in shape_env.guards if guard.expr != (symbol >= 2)]


def failed_guard(aot: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The first guard of an ``AOTCompiledFunction`` that a call breaks, as Python; None when all hold."""
    if aot.guard_check(*args, **kwargs):
        return None
    info = aot._artifacts.guard_manager.check_verbose(aot.prepare_f_locals(*args, **kwargs))
    return next(iter(info.verbose_code_parts), "a guard that torch does not name")


def is_skipped(function: Callable[..., Any]) -> bool:
    """Whether Dynamo would not trace this function as the first (torch/_dynamo/trace_rules.py): torch's own files."""
    from torch._dynamo import trace_rules  # noqa: PLC0415  (Dynamo is heavy)

    return bool(trace_rules.check(function))


def traced_files(aot: Any) -> tuple[str, ...]:
    """Names of the modules whose code was traced, from Dynamo's own record (``SourceInfo``)."""
    return tuple(sorted({source.module for source in aot._artifacts.source_info.inlined_sources}))


def serialize_aot(aot: Any, external: dict[str, Any]) -> bytes:
    """An ``AOTCompiledFunction`` as bytes; objects in ``external`` are named, not pickled."""
    return type(aot).serialize(aot, external).serialized_data


def deserialize_aot(file: io.BytesIO, f_globals: dict[str, Any], external: dict[str, Any]) -> Any:
    """What :func:`serialize_aot` wrote (``torch.compiler.load_compiled_function``)."""
    return torch.compiler.load_compiled_function(file, f_globals=f_globals, external_data=external)


Demand = tuple[Callable[[int], bool], str, str]  # whether it holds for a size, as text, where it was made


def demands_on(shape_env: Any, symbol: Any) -> list[Demand]:
    """Guards of a ShapeEnv that speak of this symbol alone."""
    found = [
        (_holds(guard.expr, symbol), str(guard.expr), _location(guard.sloc))
        for guard in shape_env.guards
        if guard.expr.free_symbols == {symbol}
    ]
    replaced = shape_env.replacements.get(symbol)
    if replaced is not None and replaced.is_Integer:
        found.append((lambda size, value=int(replaced): size == value, f"{symbol} == {replaced}", ""))
    return found


def _holds(expr: Any, symbol: Any) -> Callable[[int], bool]:
    from torch.utils._sympy.interp import sympy_interp  # noqa: PLC0415  (sympy: only when sizes are symbolic)
    from torch.utils._sympy.reference import PythonReferenceAnalysis  # noqa: PLC0415

    return lambda size: bool(sympy_interp(PythonReferenceAnalysis, {symbol: size}, expr))


@dataclass
class Branches:
    """What the Python that Dynamo traced asked of symbolic sizes: (ShapeEnv, what was true, where)."""

    found: list[tuple[Any, Any, str]]

    def demands_on(self, shape_env: Any, symbol: Any) -> list[Demand]:
        """Those that speak of this symbol alone."""
        return [
            (_holds(expr, symbol), str(expr), place)
            for env, expr, place in self.found
            if env is shape_env and expr.free_symbols == {symbol}
        ]


@contextmanager
def branches_on_sizes() -> Generator[Branches]:
    """Note on what sizes the Python that is traced in the block branches.

    A branch that only a size of 0 or 1 would take another way (``if x.shape[0] == 1``) leaves no guard on a backed
    size: Dynamo holds it to be at least 2 (torch/_dynamo/variables/tensor.py, ``SymNodeVariable.evaluate_expr``).
    """
    from torch._dynamo.variables.tensor import SymNodeVariable  # noqa: PLC0415  (Dynamo is heavy)

    branches = Branches([])

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def evaluate_expr(self: Any, *args: Any) -> Any:
            value = original(self, *args)
            if isinstance(self.sym_num, torch.SymBool):
                node = self.sym_num.node
                expr = node.expr if value else ~node.expr
                branches.found.append((node.shape_env, expr, _traced_line()))
            return value

        return evaluate_expr

    undo = patch_method(SymNodeVariable, "evaluate_expr", make)
    try:
        yield branches
    finally:
        undo()


def _traced_line() -> str:
    """The line of the model that Dynamo is at: ``file:line: code``."""
    from torch.fx.experimental.symbolic_shapes import uninteresting_files  # noqa: PLC0415  (sympy)

    stack = torch._guards.TracingContext.extract_stack()
    frame = next((frame for frame in reversed(stack) if frame.filename not in uninteresting_files()), None)
    return f"{frame.filename}:{frame.lineno}: {frame.line}" if frame is not None else ""


def where_fixed(shape_env: Any) -> str:
    """The line that made a plain number of a symbolic size; empty when none is known."""
    places = [
        _location(shape_env.replacements_slocs.get(symbol))
        for symbol, value in shape_env.replacements.items()
        if value.is_Integer
    ]
    return next(filter(None, places), "")


# -- cutting a graph ----------------------------------------------------------------------------------------

OpOverload = torch._ops.OpOverload  # what a node out of torch.ops calls; torch has no public name for either
OpOverloadPacket = torch._ops.OpOverloadPacket


def lazy_graph_module(root: dict[str, Any], graph: fx.Graph) -> fx.GraphModule:
    """A GraphModule whose code is generated when it is first run or read (torch/fx/_lazy_graph_module.py).

    Generating it costs some 45 us a node, and most pieces are compiled, or equal to one that is, but never run.
    """
    from torch.fx._lazy_graph_module import _LazyGraphModule  # noqa: PLC0415  (private: kept in one place)

    return _LazyGraphModule(root, graph)


def symbols_in(value: Any) -> tuple[Any, ...]:
    """The sympy symbols that a tensor's sizes and strides, or a symbolic number, are made of, as they first appear."""
    if isinstance(value, torch.Tensor):
        if not value._has_symbolic_sizes_strides:
            return ()
        sizes = [*value.shape, *value.stride(), value.storage_offset()]
    else:
        sizes = [value]
    found: dict[Any, None] = {}
    for size in sizes:
        if isinstance(size, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            found.update(dict.fromkeys(sorted(size.node.expr.free_symbols, key=str)))
    return tuple(found)


def shape_env_of_size(size: Any) -> Any:
    """The ShapeEnv that the symbols of a SymInt, SymFloat or SymBool belong to."""
    return size.node.shape_env


def sets_global_state(target: Any) -> bool:
    """Whether a call changes how the calls after it behave: grad mode or autocast (as ``split_module`` has it)."""
    return target is torch._C._set_grad_enabled or target in (torch.amp._enter_autocast, torch.amp._exit_autocast)


def enters_autocast(target: Any) -> bool:
    """Whether a call opens a block of autocast; its result is what the call that closes it takes."""
    return target is torch.amp._enter_autocast


def exit_autocast() -> Callable[..., Any]:
    """What closes a block of autocast (torch/amp/autocast_mode.py)."""
    return torch.amp._exit_autocast


def packet_name(packet: Any) -> str:
    """``namespace::name`` of an OpOverloadPacket."""
    return packet._qualified_op_name


def registered_ops() -> list[str]:
    """Every operator that the dispatcher knows, as ``namespace::name`` or ``namespace::name.overload``."""
    return torch._C._dispatch_get_all_op_names()


def aten_name(function: Any) -> str | None:
    """``aten::relu`` for ``torch.relu``: what a function made by torch's generator of bindings calls, exactly.

    None for everything else; functions of ``torch.nn.functional`` written in Python may call several operators.
    """
    if not isinstance(function, BuiltinFunctionType):
        return None
    name = function.__name__
    homes = (torch._C._VariableFunctions, torch._C._nn, torch._C._fft, torch._C._linalg, torch._C._special)
    return f"aten::{name}" if any(getattr(home, name, None) == function for home in homes) else None


def aten_name_of_method(name: str) -> str | None:
    """``aten::relu`` for ``relu`` of a tensor, when that method was generated; None when it is Python."""
    return f"aten::{name}" if isinstance(getattr(torch.Tensor, name, None), MethodDescriptorType) else None


# -- CUDA graphs --------------------------------------------------------------------------------------------


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """A nest of containers (torch/utils/_pytree.py) made anew, with ``function`` of each tensor in it."""
    return torch.utils._pytree.tree_map_only(torch.Tensor, function, value)


def named_leaves(arguments: Any) -> list[tuple[str, Any]]:
    """Everything that is no container in a nest of them, with where it lies, such as ``[0]['mask']``."""
    leaves, _ = torch.utils._pytree.tree_flatten_with_path(arguments)
    return [(torch.utils._pytree.keystr(path), leaf) for path, leaf in leaves]


def weak_tensor(value: torch.Tensor) -> torch.Tensor | None:
    """A tensor over the same memory that does not keep it alive; None when torch can make none of this tensor.

    vLLM has a C++ op for it. torch/_inductor/cudagraph_trees.py makes its outputs anew at each replay from a bare
    address with the function used here; ``set_`` then works on every device.
    """
    construct = getattr(torch._C, "_construct_storage_from_data_pointer", None)
    if construct is None or type(value) not in (torch.Tensor, torch.nn.Parameter):
        return None
    memory = value.untyped_storage()
    storage = construct(memory.data_ptr(), value.device, memory.nbytes())
    empty = torch.empty(0, dtype=value.dtype, device=value.device)
    return empty.set_(storage, value.storage_offset(), value.size(), value.stride())


@contextmanager
def inductor_partition_wrapper(wrap: Callable[[Callable[..., Any], int, int], Callable[..., Any]]) -> Generator[None]:
    """Have Inductor pass each partition that it cuts through ``wrap(function, index, how many there are)``.

    torch/_inductor/utils.py, ``set_customized_partition_wrappers``, has one place for it in the whole process.
    """
    from torch._inductor import utils  # noqa: PLC0415  (Inductor is heavy)

    earlier = utils._unstable_customized_partition_wrapper.wrapper
    utils.set_customized_partition_wrappers(
        lambda function, metadata: wrap(function, metadata.partition_index, metadata.num_partitions)
    )
    try:
        yield
    finally:
        utils._unstable_customized_partition_wrapper.wrapper = earlier


def fake_mode_with_sizes() -> Any:
    """A new fake mode with a ShapeEnv: what ``standalone_compile(dynamic_shapes="from_example_inputs")`` asks for."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415  (sympy: only when compiling)

    return torch._subclasses.FakeTensorMode(shape_env=ShapeEnv())


def size_with(size: Any, symbol: Any, value: int) -> int | None:
    """A size once ``symbol`` is ``value``; None when other symbols are left in it."""
    if isinstance(size, int):
        return size
    found = expression(size).subs(symbol, value)
    return int(found) if found.is_Integer else None


def overload_of_custom_op(op: Any) -> Any:
    """The OpOverload of what ``torch.library.custom_op`` returned (torch/_library/custom_ops.py); None for others."""
    return op._opoverload if isinstance(op, torch._library.custom_ops.CustomOpDef) else None


def forget_generated_code(paths: Collection[Path]) -> None:
    """Let files of generated code be read again when they are loaded (PyCodeCache in torch/_inductor/codecache.py).

    Inductor reads each path once in a process, so that what a person edits after that would have no effect.
    """
    codecache = loaded("torch._inductor.codecache")
    known: dict[str, Any] = codecache.PyCodeCache.modules_no_attr if codecache is not None else {}
    for path in [path for path in known if Path(path) in paths]:
        del known[path]


# -- what an artifact depends on ----------------------------------------------------------------------------


def tensor_bytes(value: torch.Tensor) -> bytes | None:
    """All bytes of a real tensor, on whatever device; None when they are not all there is to it."""
    plain = type(value) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
    if not plain or value.is_meta or value.layout is not torch.strided or value.is_quantized:
        return None
    with torch._subclasses.fake_tensor.unset_fake_temporarily(), torch.no_grad():
        flat = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        return ctypes.string_at(flat.data_ptr(), flat.nbytes) if flat.numel() else b""


def settings_of_torch() -> dict[str, dict[str, Any]]:
    """Every setting that the compile of a graph may look at, by module: values that are keys of torch's own caches.

    ``save_config_portable`` (torch/utils/_config_module.py) leaves out what does not change code (threads, places).
    """
    names = ("torch._inductor.config", "torch._functorch.config", "torch.fx.experimental._config")
    modules: list[Any] = [import_module(name) for name in names]
    return {
        name: module.save_config_portable(ignore_private_configs=False, readonly_values=True)
        for name, module in zip(names, modules, strict=True)
    }


def default_of(module: str, name: str) -> Any:
    """What one of those settings is in torch's source. (Whether it was ever set says less: torch sets many anew.)"""
    config: Any = sys.modules[module]
    return config._config[name].default


_INDUCTOR_PASSES = (
    "pre_grad_custom_pass", "joint_custom_pre_pass", "joint_custom_post_pass", "post_grad_custom_pre_pass",
    "post_grad_custom_post_pass", "_pre_fusion_custom_pass", "_post_fusion_custom_pass", "custom_partitioner_fn",
    "_fuse_ddp_communication_passes", "external_matmul",
)  # fmt: skip


def passes_of_inductor() -> dict[str, Any]:
    """Passes that somebody has put into Inductor's settings: they are not in :func:`settings_of_torch`."""
    import torch._inductor.config  # noqa: PLC0415  (Inductor's settings import much)

    found = {name: getattr(torch._inductor.config, name, None) for name in _INDUCTOR_PASSES}
    common = loaded("torch._inductor.codegen.common")
    found |= {f"backend.{name}": made for name, made in getattr(common, "custom_backend_passes", {}).items()}
    default = default_of("torch._inductor.config", "_fuse_ddp_communication_passes")
    return {name: made for name, made in found.items() if made and made != default}


def overloads_of(target: Any) -> list[Any]:
    """The overloads that a node's target may mean: itself, all of a packet, none of a Python function."""
    if isinstance(target, torch._ops.OpOverloadPacket):
        return [getattr(target, name) for name in target.overloads()]
    return [target] if isinstance(target, torch._ops.OpOverload) else []


def schema_of_op(overload: Any) -> str:
    """Schema and tags of an operator, as text."""
    return f"{overload._schema} {sorted(str(tag) for tag in overload.tags)}"


def files_that_register(overload: Any) -> list[str]:
    """Source files (of Python or C++) that register something for an operator, out of the dispatcher's own account."""
    name = overload.name().removesuffix(".default")
    found = re.findall(r"registered at (.+):\d+(?: |$)", torch._C._dispatch_dump(name), re.MULTILINE)
    entry = torch._library.simple_registry.singleton.get(name)
    kernels = getattr(getattr(entry, "fake_impl", None), "kernels", ())
    found += [kernel.source.rpartition(":")[0] for kernel in kernels if kernel.source]
    return sorted(set(found))


def python_functions_of(overload: Any) -> list[Any]:
    """Python functions, as registered, that say what an operator does: kernels, fakes, decompositions, lowerings."""
    name = overload.name().removesuffix(".default")
    definition = torch._library.custom_ops.OPDEFS.get(name)
    entry = torch._library.simple_registry.singleton.get(name)
    found = [getattr(definition, part, None) for part in ("_init_fn", "_abstract_fn")]
    found += getattr(definition, "_backend_fns", {}).values()
    found += [kernel.func for kernel in getattr(getattr(entry, "fake_impl", None), "kernels", ())]
    found += overload.py_kernels.values()
    for module, names in _TABLES_OF_OPS.items():
        held = [getattr(loaded(module), table, {}) for table in names]
        tables = [part for table in held for part in ([table] if overload in table else table.values())]
        found += [table[overload] for table in tables if isinstance(table, Mapping) and overload in table]
    return [function for function in found if callable(function)]


_TABLES_OF_OPS = {
    "torch._decomp": ("global_decomposition_table",),
    "torch._inductor.decomposition": ("decompositions",),
    "torch._inductor.lowering": ("lowerings",),
}


def is_composite(overload: Any) -> bool:
    """Whether tracing goes into an operator (CompositeImplicitAutograd), so that its inside is in the code."""
    return overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


def triton_kernels_of(node: fx.Node) -> list[tuple[str, Any]]:
    """Source and constants of the user's own Triton kernels that a node calls, directly or as a ``triton_op``.

    A call holds only the kernel's number in a table of the process (torch/_higher_order_ops/triton_kernel_wrap.py).
    """
    if node.target in (
        torch.ops.higher_order.triton_kernel_wrapper_mutation,
        torch.ops.higher_order.triton_kernel_wrapper_functional,
    ):
        from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table  # noqa: PLC0415  (imports Triton)

        numbers: Any = node.kwargs
        kernel = kernel_side_table.get_kernel(numbers["kernel_idx"])
        constants = kernel_side_table.get_constant_args(numbers["constant_args_idx"])
        return [(_triton_source(kernel), constants)]
    names = [overload.name() for overload in overloads_of(node.target)]
    return [
        (_triton_source(kernel), {})
        for name in names
        for kernel in torch._library.triton.get_triton_kernels_for_op(name)
    ]


def _triton_source(kernel: Any) -> str:
    from torch._inductor.codegen import wrapper  # noqa: PLC0415  (Inductor is heavy)

    configs = getattr(kernel, "configs", None)
    inner = kernel.fn if configs is not None else kernel
    tried = sorted(sorted(str(pair) for pair in config.all_kwargs().items()) for config in configs or ())
    return f"{wrapper.user_defined_triton_kernel_transitive_closure_source_code(inner)}\n{tried}"


def is_passed_through(value: Any) -> bool:
    """Whether an opaque object is only handed on by the code, whatever it is (a hoisted one that none looks into)."""
    kind = type(opaque_value(value))
    opaque = torch._library.opaque_object
    return opaque.is_opaque_type(kind) and opaque.should_hoist(kind) and not opaque.has_members(kind)


def serializable_callable() -> type:
    """The class of what a backend must return to be kept with a captured model (torch/_dynamo/aot_compile_types.py)."""
    from torch._dynamo.aot_compile_types import SerializableCallable  # noqa: PLC0415  (Dynamo is heavy)

    return SerializableCallable


def custom_graph_pass() -> type:
    """The class of passes that Inductor takes and keys its caches with (torch/_inductor/custom_graph_pass.py)."""
    from torch._inductor.custom_graph_pass import CustomGraphPass  # noqa: PLC0415  (Inductor is heavy)

    return CustomGraphPass


def standalone_compile(graph: fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Any:
    """Compile one graph to an artifact that can be kept (torch/_inductor/__init__.py)."""
    import torch._inductor as inductor  # noqa: PLC0415  (Inductor is heavy)

    return inductor.standalone_compile(graph, list(inputs), **options)


def cause_of(error: Exception) -> Exception:
    """What Inductor raised its own error for (torch/_inductor/exc.py), or the error itself."""
    return getattr(error, "inner_exception", error)


def load_unpacked_artifact(folder: Path) -> Callable[..., Any]:
    """An artifact that was kept as files (torch/_inductor/standalone_compile.py)."""
    import torch._inductor as inductor  # noqa: PLC0415  (Inductor is heavy)

    return inductor.CompiledArtifact.load(path=str(folder), format="unpacked")


@contextmanager
def marks_undone(tensor: torch.Tensor) -> Generator[None]:
    """What the block marks on a tensor is gone after it: Dynamo keeps marks as attributes of the tensor itself."""
    before = {name: copy.copy(value) for name, value in vars(tensor).items()}
    try:
        yield
    finally:
        vars(tensor).clear()
        vars(tensor).update(before)


def mark_dynamic(tensor: torch.Tensor, dim: int) -> None:
    """Tell Dynamo that a dimension varies; the example's size is carried along."""
    torch._dynamo.mark_dynamic(tensor, dim)


def mark_unbacked(tensor: torch.Tensor, dim: int) -> None:
    """Tell Dynamo that a dimension varies and nobody may ask for it; equal sizes of the example are one symbol."""
    size = tensor.shape[dim]
    torch._dynamo.decorators.mark_unbacked(tensor, dim, hint_override=size, shape_id=f"batch_{size}")


def weights_of(module: torch.nn.Module) -> list[tuple[str, torch.Tensor | None]]:
    """Parameters and buffers that a module itself holds, in order, those that are None included."""
    return [*module._parameters.items(), *module._buffers.items()]


# -- constants lifted out of pieces -------------------------------------------------------------------------

OpaqueBase = torch._opaque_base.OpaqueBase  # what a class derives from whose objects ops may take


def register_opaque_value(kind: type) -> None:
    """Let ops take objects of this class, as inputs of a graph rather than constants in it.

    torch/_library/opaque_object.py; ``hoist`` is what makes them inputs.
    """
    from torch._library.opaque_object import register_opaque_type  # noqa: PLC0415  (private: kept in one place)

    register_opaque_type(kind, typ="value", hoist=True)


def schema_text(overload: Any) -> str:
    """The schema of an op, as ``Library.define`` takes it, without its namespace: ``name.overload(...) -> ...``."""
    return str(overload._schema).partition("::")[2]


def string_arguments(overload: Any) -> tuple[str, ...]:
    """The names of an op's arguments that are a string (``str`` or ``str?``), and "" for each other argument."""
    return tuple(
        argument.name if str(argument.type) in ("str", "Optional[str]") else ""
        for argument in overload._schema.arguments
    )


def is_plain_custom(overload: Any) -> bool:
    """Whether an op is a black box to the compiler: neither torch's own, nor taken apart into other ops."""
    if overload.namespace in ("aten", "prims", "prim", "inductor", "_c10d_functional", "c10d"):
        return False
    return not overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


class _OnDemand(torch._ops._OpNamespace):
    """A namespace of ``torch.ops`` that defines an op when it is first asked for it (torch/_ops.py)."""

    __module__ = torch._ops.__name__  # code generated for its ops takes the module from here

    def __init__(self, name: str, define: Callable[[torch.library.Library, str], None]) -> None:
        super().__init__(name)
        self.define = define
        self.library: torch.library.Library | None = None
        self.asked: set[str] = set()

    def __getattr__(self, op_name: str) -> Any:
        if op_name.startswith("__") or op_name in self.asked:  # defining it asks whether it is there
            return super().__getattr__(op_name)
        self.asked.add(op_name)
        try:
            self.library = self.library or torch.library.Library(self.name, "FRAGMENT")
            self.define(self.library, op_name)
            return super().__getattr__(op_name)
        except AttributeError:
            raise AttributeError(
                f"torch.ops.{self.name}.{op_name} stands for an op that is not registered here. "
                "Import the module that registers it."
            ) from None
        finally:
            self.asked.discard(op_name)


def define_on_demand(namespace: str, define: Callable[[torch.library.Library, str], None]) -> None:
    """Call ``define(library, name)`` when ``torch.ops.<namespace>.<name>`` is first used.

    Generated code that was loaded from disk names its ops and nothing else, so that is where they must come to be.
    """
    if not isinstance(vars(torch.ops).get(namespace), _OnDemand):
        setattr(torch.ops, namespace, _OnDemand(namespace, define))


def probe_vector_instructions() -> None:
    """Let Inductor find out what the processor can do; it keeps the answer (torch/_inductor/cpu_vec_isa.py).

    The answer comes from small C++ programs that are built and run, once for a process; here several at a time.
    """
    from torch._inductor import cpu_vec_isa  # noqa: PLC0415  (Inductor is heavy)

    with contextlib.suppress(Exception), ThreadPoolExecutor(max_workers=4) as pool:
        flags = cpu_vec_isa.x86_isa_checker() if platform.machine() in ("x86_64", "AMD64") else []
        likely = [isa for isa in cpu_vec_isa.supported_vec_isa_list if all(f in flags for f in str(isa).split())]
        list(pool.map(bool, likely))
    cpu_vec_isa.valid_vec_isa_list()
