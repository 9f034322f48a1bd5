"""The first event of a process's folder: which program and which versions; and ``context.json``, which it names."""

from __future__ import annotations

import os
import sys
from typing import Any

from cutaway.record import texts
from cutaway.record.context import Host
from cutaway.record.environment import describe_run, masked_command, versions
from cutaway.record.writer import DumpWriter

SCHEMA = 1
"""Of the dump's format (docs/dump-format.md)."""


def introduce(writer: DumpWriter, host: Host, rank: int, dp_rank: int) -> None:
    """Write the first event; what it names is there, so ``context.json`` comes before it. Raises OSError."""
    context = None
    try:
        written = writer.write("context", "context.json", texts.as_json(_context(host)), announce=False)
        context = written["path"] if written else None
    finally:
        writer.event(
            "run",
            compilation=None,
            schema=SCHEMA,
            **{name: text for name, text in versions().items() if name in ("cutaway", "torch", "python")},
            pid=os.getpid(),
            rank=rank,
            dp_rank=dp_rank,
            argv=masked_command(sys.argv),
            context=context,
        )


def _context(host: Host) -> dict[str, Any]:
    """What the run was made on and how, or why that cannot be said."""
    try:
        return describe_run(host.configuration())
    except Exception as error:  # noqa: BLE001  (a host's configuration that cannot be read must not cost the rest)
        text = f"{type(error).__name__}: {error}"
    try:
        return describe_run({"error": text})
    except Exception:  # noqa: BLE001  (nor must the rest cost the recording)
        return {"error": text}
