"""What the page shows, as data: pure functions from a dump to the shapes of web/src/data/types.ts; no torch.

    dump ──Process──► overview │ steps │ graph │ diff │ … ──Library.get(path)──► server, report

>>> library = Library("dump/")
>>> library.get("run_001/rank_0_dp_0/diff/backbone/piece_02/range_8_8/post_grad").summary
'5 nodes, rms_norm −1, fused_norm +1'
"""

from __future__ import annotations

from cutaway.web.data.library import Library
from cutaway.web.data.process import Process

__all__ = ["Library", "Process"]
