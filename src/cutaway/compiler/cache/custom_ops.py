"""Operators that do not come with torch: who edits one must not be given what was compiled with the old one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.identity import sources, stable
from cutaway.identity.sources import UncacheableError
from cutaway.ops.lookup import ir_op_of

_NATIVE = (".cpp", ".cc", ".cxx", ".cu", ".cuh", ".h", ".hpp", ".hip", ".mm", ".inl", ".c")
_OF_TORCH = Path(torch.__file__).parent


def custom_op_factors(nodes: Iterable[fx.Node]) -> dict[str, Any]:
    """The ``custom_ops`` section: schema and sources of every operator called that does not come with torch.

    A source is the whole file, because a kernel calls what stands beside it. Of functions that run when a graph is
    compiled (what tracing goes into, fakes, decompositions, lowerings) all counts that they read by name, too. Ops of
    ``cutaway.ops`` have a section of their own (``cache/ir.py``).

    Raises:
        UncacheableError: an operator is written in Python and has no source file, or tracing goes into it and it was
            compiled into a library, or reads what cannot be told from its like.
    """
    return _factors_of(operators_in(nodes))


def operators_in(nodes: Iterable[fx.Node]) -> dict[str, Any]:
    """Name -> every operator called that is none of ``cutaway.ops``, torch's own too: they may be lowered by others."""
    overloads = {overload.name(): overload for node in nodes for overload in called_operators(node)}
    return {name: overloads[name] for name in sorted(overloads) if ir_op_of(overloads[name]) is None}


def factors_by_name(names: Iterable[str]) -> dict[str, Any]:
    """The same section for operators by name; None for one that is not there (any more).

    Raises:
        UncacheableError: as :func:`custom_op_factors`.
    """
    found = {name: torch_internals.overload_named(name) for name in sorted(names)}
    gone = {name: None for name, overload in found.items() if overload is None}
    return gone | _factors_of({name: overload for name, overload in found.items() if overload is not None})


def _factors_of(overloads: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _op(overload) for name, overload in overloads.items()}
    return {name: facts for name, facts in found.items() if facts}


def called_operators(node: fx.Node) -> list[Any]:
    """The operators that a node calls or hands to a higher-order one."""
    if node.op != "call_function":
        return []
    handed = node.args if torch_internals.is_higher_order(node.target) else ()
    handed = (*handed, *node.kwargs.values()) if handed else handed
    return [overload for target in (node.target, *handed) for overload in torch_internals.overloads_of(target)]


def _op(overload: Any) -> dict[str, Any]:
    """Schema and sources of an operator; nothing when torch's version says it all."""
    name = overload.name()
    functions = _users_among(torch_internals.python_functions_of(overload))
    builtin = overload.namespace in ("aten", "prim", "prims")
    files = [] if builtin else [file for file in torch_internals.files_that_register(overload) if _is_users(file)]
    if not functions and not files:
        return {}
    compiled = _users_among(torch_internals.functions_a_compile_runs(overload))
    traced = [file for file in torch_internals.files_traced_into(overload) if file in files and file.endswith(".py")]
    native = [file for file in files if file.endswith(_NATIVE) and not Path(file).exists()]
    if native and torch_internals.is_composite(overload) and not any("/csrc/" in file for file in native):
        raise UncacheableError(f"operator {name}", "tracing goes into it, and it was compiled into a library")
    digests = {file: sources.file_digest(file, f"operator {name}") for file in files if file not in native}
    return {
        "schema": torch_internals.schema_of_op(overload),
        "sources": sorted({f"{Path(file).name} {content}" for file, content in digests.items()}),
        "functions": sorted({_text(function, name, reach=False) for function in functions}),
        "compiled in": sorted({_text(function, name, reach=True) for function in compiled} | _files_read(traced, name)),
    }


def _files_read(files: Iterable[str], name: str) -> set[str]:
    """What code in these files reads, as texts."""
    return {stable.canonical(stable.stable_file(file, f"operator {name}")) for file in files}


def _text(function: Callable[..., Any], name: str, *, reach: bool) -> str:
    return stable.canonical(stable.stable(function, f"operator {name}", reach=reach))


def _users_among(functions: Iterable[Callable[..., Any]]) -> list[FunctionType]:
    return [function for made in functions for function in _written_by_users(made)]


def _is_users(file: str) -> bool:
    return file != "/dev/null" and not Path(file).is_relative_to(_OF_TORCH)


def _written_by_users(function: Callable[..., Any], depth: int = 0) -> list[FunctionType]:
    """A function, or those that torch has wrapped in it; none when it is torch's own."""
    if not isinstance(function, FunctionType):
        inner = [getattr(function, "func", None), getattr(function, "__func__", None)]
        return [found for part in inner if callable(part) and depth < 4 for found in _written_by_users(part, depth + 1)]
    if not sources.comes_with_python_or_torch(function.__module__) and _is_users(function.__code__.co_filename):
        return [function]
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    inner = [part for part in (*cells, getattr(function, "__wrapped__", None)) if callable(part)]
    return [found for part in inner if depth < 4 for found in _written_by_users(part, depth + 1)]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is bound later
        return False
