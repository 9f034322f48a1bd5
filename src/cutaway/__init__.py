"""Cutaway: see inside a PyTorch model that is being compiled.

Public names: :func:`record` (in the watched process; needs torch), :func:`load` (read a dump; needs no torch),
:func:`compile` (the piecewise compiler; needs torch) with its :class:`CompilationConfig` and :class:`CUDAGraphMode`,
and the errors. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cutaway.errors import (
    CaptureError,
    CompileError,
    ConfigError,
    CutawayError,
    DumpError,
    InputError,
    IsolateError,
    RecordError,
    ReplayError,
    SchemaError,
    SelectorError,
    SplitError,
    UsageError,
)

if TYPE_CHECKING:
    from cutaway.compiler.api import compile as compile  # noqa: A004  (the name that everybody looks for)
    from cutaway.compiler.config import CompilationConfig as CompilationConfig
    from cutaway.compiler.config import CUDAGraphMode as CUDAGraphMode
    from cutaway.dump.reader import load as load
    from cutaway.record.recording import record as record

__version__ = "0.1.0"

__all__ = [
    "CUDAGraphMode",
    "CaptureError",
    "CompilationConfig",
    "CompileError",
    "ConfigError",
    "CutawayError",
    "DumpError",
    "InputError",
    "IsolateError",
    "RecordError",
    "ReplayError",
    "SchemaError",
    "SelectorError",
    "SplitError",
    "UsageError",
    "__version__",
    "compile",
    "load",
    "record",
]

_COMPILER = ("CUDAGraphMode", "CompilationConfig", "compile")


def __getattr__(name: str) -> Any:
    if name == "load":
        return import_module("cutaway.dump.reader").load
    if name == "explain":
        return import_module("cutaway.explain")
    if name == "record":  # the package is itself callable, see its docstring
        return import_module("cutaway.record")
    if name in _COMPILER:
        return getattr(import_module("cutaway.compiler"), name)
    raise AttributeError(f"module 'cutaway' has no attribute {name!r}")
