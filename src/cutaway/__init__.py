"""Cutaway: see inside a PyTorch model that is being compiled.

Public names: :func:`record` (in the watched process; needs torch), :func:`load` (read a dump; needs no torch),
and the errors. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cutaway.errors import CutawayError, DumpError, RecordError, SchemaError, SelectorError, UsageError

if TYPE_CHECKING:
    from cutaway.dump.reader import load as load
    from cutaway.record.recording import record as record

__version__ = "0.1.0"

__all__ = [
    "CutawayError",
    "DumpError",
    "RecordError",
    "SchemaError",
    "SelectorError",
    "UsageError",
    "__version__",
    "load",
    "record",
]


def __getattr__(name: str) -> Any:
    if name == "load":
        return import_module("cutaway.dump.reader").load
    if name == "record":  # the package is itself callable, see its docstring
        return import_module("cutaway.record")
    raise AttributeError(f"module 'cutaway' has no attribute {name!r}")
