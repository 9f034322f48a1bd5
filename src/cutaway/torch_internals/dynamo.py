"""Dynamo: dynamic dimensions, compile regions, guards, captured models as bytes."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx


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


def source_of_input(node: fx.Node) -> str | None:
    """The same, of an input of a graph as Dynamo hands it over, which need not have the notes above any more.

    torch/_dynamo/output_graph.py puts it on the node for those that come after it; copies of the node have it not.
    """
    name = getattr(getattr(node, "_dynamo_source", None), "name", None)
    return dynamo_source(node) if name is None else str(name() if callable(name) else name)


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
