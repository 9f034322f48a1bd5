"""What a recording was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cutaway.record.filters import Filters


@dataclass(frozen=True)
class Settings:
    """What a recording was asked for.

    Attributes:
        path: the dump's root folder.
        filters: which part to record.
        max_bytes: stop writing files once they add up to this many bytes; None for no limit.
        save_inputs: keep the real inputs of compiled graphs, in at most so many bytes; None for not at all.
        share_run: join the run of the process that started this one (``CUTAWAY_DUMP``, vLLM's processes).
    """

    path: Path
    filters: Filters = field(default_factory=Filters)
    max_bytes: int | None = None
    save_inputs: int | None = None
    share_run: bool = False
