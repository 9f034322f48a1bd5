"""Dynamo: dynamic dimensions, compile regions, guards, captured models as bytes."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from cutaway.torch_internals.sizes import Demand, _holds
from cutaway.torch_internals.swap import patch_method


def is_region_call(node: fx.Node) -> bool:
    """Whether a node calls a compile region (``torch.compiler.nested_compile_region``)."""
    return node.op == "call_function" and node.target is torch.ops.higher_order.invoke_subgraph


def dynamo_source(node: fx.Node) -> str | None:
    """Where Dynamo found an input of a graph, as Python: ``L['self']._modules['mlp']``; None when it does not say.

    torch/_dynamo/variables/builder.py notes it as ``GraphArg.source`` and, for AOTAutograd, as ``_dynamo_source``.
    """
    source = getattr(node.meta.get("grapharg"), "source", None)
    if source is None:
        source = (node.meta.get("tensor_dict") or {}).get("_dynamo_source")
    name = getattr(source, "name", None)
    return None if name is None else str(name() if callable(name) else name)


def drop_guards(entries: Sequence[Any]) -> list[bool]:
    """``guard_filter_fn`` that keeps none (``torch.compiler.skip_all_guards_unsafe``)."""
    return [False for _ in entries]


def keep_guards(entries: Sequence[Any]) -> list[bool]:
    """``guard_filter_fn`` that keeps those on sizes: what a graph was specialised on."""
    return [entry.guard_type == "SHAPE_ENV" for entry in entries]


def has_forward_hooks(module: torch.nn.Module) -> bool:
    """Whether hooks run around a module's forward: ``Module._call_impl`` asks the same."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def call_with_hooks(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    """A module's forward with the hooks around it; past a ``__call__`` of the class's own, which may be ours."""
    return torch.nn.Module._call_impl(self, *args, **kwargs)


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


def serializable_callable() -> type:
    """The class of what a backend must return to be kept with a captured model (torch/_dynamo/aot_compile_types.py)."""
    from torch._dynamo.aot_compile_types import SerializableCallable  # noqa: PLC0415  (Dynamo is heavy)

    return SerializableCallable


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
