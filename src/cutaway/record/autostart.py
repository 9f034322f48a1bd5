"""Starts recording when ``CUTAWAY_DUMP`` says so, in any process that imports torch.

torch calls the entry points of the group ``torch.backends`` at the end of its import (its documented way to load
extensions); Cutaway has one there. Without ``CUTAWAY_DUMP`` it reads one variable and returns
(docs/decisions/0002-autostart.md).
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from importlib import import_module


def start() -> None:
    """The entry point. Never raises: torch must import whatever happens here."""
    path = os.environ.get("CUTAWAY_DUMP")
    if not path or os.environ.get("CUTAWAY") == "0":
        return
    try:
        import_module("cutaway.record.recording").record_process(path)
    except Exception as error:  # noqa: BLE001  (never end the run)
        with suppress(RuntimeWarning):  # under -W error
            warnings.warn(f"cutaway: nothing will be recorded: {error}", RuntimeWarning, stacklevel=2)
