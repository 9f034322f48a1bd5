"""What runs inside the watched process: torch and the standard library, nothing else.

``cutaway.record`` is both this package and the call that starts a recording. Python binds a sub-package as an
attribute of its parent, so the two cannot have different values; the package is therefore callable
(docs/decisions/0001-record-is-callable.md). Importing it imports neither torch nor the recorder.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """See :func:`cutaway.record.recording.record`."""
        return import_module("cutaway.record.recording").record(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
