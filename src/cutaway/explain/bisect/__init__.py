"""From a part that is at fault to the piece, stage, pass, node, provider and kernel.

inside ──► a trial with the hands in it (within/) ──► seen: what parted, was overwritten, was passed wrongly
                                                        │
                     crash, slow ◄──────────────────────┤
                                                        ▼
                                stages: graphs of the dump, replayed one against the other ──► Finding
"""

from __future__ import annotations

from cutaway.explain.bisect.finding import Confidence, Finding, Kind
from cutaway.explain.bisect.inside import inside

__all__ = ["Confidence", "Finding", "Kind", "inside"]
