"""Operators: names, schemas, where they come from."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import fx

from cutaway.torch_internals.swap import loaded


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


def is_of_inductor(overload: Any) -> bool:
    """Whether an operator comes to be when Inductor is imported, such as ``prims.inductor_random``."""
    return overload.name().startswith(("prims::inductor_", "inductor_prims::"))


def module_that_registers(overload: Any) -> str | None:
    """The Python module whose import registers a custom operator, as far as torch knows it.

    ``torch.library.custom_op`` keeps the function (torch/_library/custom_ops.py); a bare ``Library.define`` leaves
    its Python kernels in the library's table, or its fake implementation (torch/_library/simple_registry.py). Of
    torch's own, those of Inductor are not there before it is imported (torch/_inductor/inductor_prims.py).
    """
    name = overload.name().removesuffix(".default")
    if is_of_inductor(overload):
        return "torch._inductor.inductor_prims"
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


def import_block(globals_used: dict[str, Any]) -> str:
    """Import statements for the globals that an fx graph's code refers to (torch/fx/graph_module.py)."""
    from torch.fx.graph_module import _format_import_block  # noqa: PLC0415  (private: kept in one place)
    from torch.package import sys_importer  # noqa: PLC0415

    return _format_import_block(globals_used, sys_importer)


def takes_plain_arguments(graph: fx.Graph) -> bool:
    """Whether a graph's code takes its inputs one by one (torch/fx/graph.py, CodeGen), not as nested lists."""
    return type(graph._codegen) is torch.fx.graph.CodeGen


OpOverload = torch._ops.OpOverload  # what a node out of torch.ops calls; torch has no public name for either
OpOverloadPacket = torch._ops.OpOverloadPacket


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


def overloads_of(target: Any) -> list[Any]:
    """The overloads that a node's target may mean: itself, all of a packet, none of a Python function."""
    if isinstance(target, torch._ops.OpOverloadPacket):
        return [getattr(target, name) for name in target.overloads()]
    return [target] if isinstance(target, torch._ops.OpOverload) else []


def overload_named(name: str) -> Any:
    """The overload that calls itself ``ns::op`` or ``ns::op.overload``; None when there is none."""
    namespace, _, rest = name.partition("::")
    op, _, overload = rest.partition(".")
    try:
        return getattr(getattr(getattr(torch.ops, namespace), op), overload or "default")
    except (AttributeError, RuntimeError):  # torch's two ways to say that there is none
        return None


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


def files_traced_into(overload: Any) -> list[str]:
    """Source files that register what tracing goes into (CompositeImplicitAutograd), from the same account.

    The dispatcher gives a function that ``Library.impl`` registered to nobody, so its file is all that is known.
    """
    name = overload.name().removesuffix(".default")
    account = torch._C._dispatch_dump(name)
    return sorted(set(re.findall(r"^CompositeImplicitAutograd.*registered at (.+):\d+(?: |$)", account, re.MULTILINE)))


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


def functions_a_compile_runs(overload: Any) -> list[Any]:
    """Those of :func:`python_functions_of` that run when a graph is compiled: what they give is in the code.

    All but a backend's kernels, which the code calls; of an operator that tracing goes into, all.
    """
    name = overload.name().removesuffix(".default")
    if is_composite(overload) or torch._library.triton.get_triton_kernels_for_op(name):
        return python_functions_of(overload)
    definition = torch._library.custom_ops.OPDEFS.get(name)
    run = [getattr(definition, "_init_fn", None), *getattr(definition, "_backend_fns", {}).values()]
    run += [
        function
        for key, function in overload.py_kernels.items()
        if str(getattr(key, "name", key)).startswith(_OF_BACKENDS)
    ]
    return [function for function in python_functions_of(overload) if not any(function is one for one in run)]


_OF_BACKENDS = ("CPU", "CUDA", "XPU", "HIP", "MPS", "PrivateUse1", "CompositeExplicit", "Autograd", "ADInplace")

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


def overload_of_custom_op(op: Any) -> Any:
    """The OpOverload of what ``torch.library.custom_op`` returned (torch/_library/custom_ops.py); None for others."""
    return op._opoverload if isinstance(op, torch._library.custom_ops.CustomOpDef) else None


def call_below_autograd(overload: Any, keys: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an operator from its own autograd kernel, past it (torch/_library/autograd.py does the same).

    ``OpOverload.redispatch`` and the set of keys below autograd have no public name.
    """
    return overload.redispatch(keys & torch._C._after_autograd_keyset, *args, **kwargs)


def only_backend_below(keys: Any) -> bool:
    """Whether nothing but a backend's kernel is left to call below autograd: no mode, no subclass, no lazy conjugate.

    The keys that an autograd kernel is given can be read by private functions alone. Asking costs a tenth of a call.
    """
    return _only_backend_below(keys.raw_repr())


@functools.lru_cache(maxsize=1024)
def _only_backend_below(keys: int) -> bool:
    below = torch._C.DispatchKeySet.from_raw_repr(keys) & torch._C._after_autograd_keyset
    return below.highestPriorityTypeId() in (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA)


def without_autocast() -> Any:
    """Within the block, autocast changes no argument's dtype (torch/_library/custom_ops.py does it so).

    ``torch.autocast(enabled=False)`` needs the device and costs three times as much.
    """
    key = torch._C.DispatchKey
    return torch._C._ExcludeDispatchKeyGuard(
        torch._C.DispatchKeySet(key.AutocastCPU) | torch._C.DispatchKeySet(key.AutocastCUDA)
    )


def is_view(target: Any) -> bool:
    """Whether what a call returns shares memory with what it takes, and is not written to: ``getitem`` counts, too."""
    if target is operator.getitem:
        return True
    returns = target._schema.returns if isinstance(target, OpOverload) else ()
    return any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
