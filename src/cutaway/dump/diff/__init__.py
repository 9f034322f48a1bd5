"""The difference of two graphs, node by node.

snapshots ──match──► which node is which ──regions──► rewrites ──fold──► each once, with its layers

>>> before, after = dump.find("piece_02/range_8_8/before_post_grad"), dump.find("piece_02/range_8_8/post_grad")
>>> found = diff(before, after)
>>> found.summary
'5 nodes, rms_norm −1, fused_norm +1'
>>> for rewrite in found.rewrites:
...     print(rewrite.count, rewrite.text)
1 rms_norm → fused_norm
"""

from __future__ import annotations

from cutaway.dump.diff.changes import Change
from cutaway.dump.diff.compare import diff, diff_pairs
from cutaway.dump.diff.course import chain, predecessor, predecessors
from cutaway.dump.diff.match import match_nodes
from cutaway.dump.diff.matching import Matching
from cutaway.dump.diff.result import Absent, Diff, Inside, Part, Place, Rewrite

__all__ = [
    "Absent",
    "Change",
    "Diff",
    "Inside",
    "Matching",
    "Part",
    "Place",
    "Rewrite",
    "chain",
    "diff",
    "diff_pairs",
    "match_nodes",
    "predecessor",
    "predecessors",
]
