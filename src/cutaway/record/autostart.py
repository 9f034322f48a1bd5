"""Starts recording when ``CUTAWAY_DUMP`` says so, in any process that imports torch.

torch calls the entry points of the group ``torch.backends`` at the end of its import (its documented way to load
extensions); Cutaway has one there. Without ``CUTAWAY_DUMP`` it reads one variable and returns
(docs/decisions/0002-autostart.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module


def start() -> None:
    """The entry point. Never raises: torch must import whatever happens here."""
    if os.environ.get("CUTAWAY") == "0":
        return
    path = os.environ.get("CUTAWAY_DUMP")
    if path:
        _try("nothing will be recorded", lambda: import_module("cutaway.record.recording").record_process(path))
    if os.environ.get("CUTAWAY_TRIAL_OFF"):  # parts of torch.compile, in a trial of `cutaway isolate`
        _try("nothing is off", lambda: import_module("cutaway.explain.trial.hand").install(sys.modules["torch"]))
    if os.environ.get("CUTAWAY_SWITCHES"):  # a trial of `cutaway isolate`
        _try("no switch is followed", lambda: import_module("cutaway.explain.within.hands").begin())


def _try(failure: str, begin: Callable[[], object]) -> None:
    try:
        begin()
    except Exception as error:  # noqa: BLE001  (never end the run)
        import_module("cutaway.record.warning").warn(f"{failure}: {error}", above=2)
