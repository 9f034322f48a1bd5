"""A node's way through all stages, both ways: source line, layer, captured node, piece, passes, last graph, kernel.

    text ──ask──► starts ──follow──► ways ──fold──► groups: what is the same in many layers, once

A node stems from all nodes that it was made of, so that what was fused keeps all its lines. What the dump does not
tell is said to be unknown; nothing is guessed.

>>> found = lineage(dump, "cpp_fused_norm_0")
>>> found.kind, found.layers[0], found.kernels[0].lines, found.kernels[0].nodes[0].name
('kernel', 'layers.1: Qwen3DecoderLayer', (), 'fused_norm')
"""

from __future__ import annotations

from cutaway.dump.lineage.answer import lineage
from cutaway.dump.lineage.node import NodeAt, node_at
from cutaway.dump.lineage.result import (
    Captured,
    Coverage,
    Gone,
    Group,
    KernelCall,
    Line,
    Lineage,
    Member,
    Step,
    StepNode,
    Way,
)

__all__ = [
    "Captured",
    "Coverage",
    "Gone",
    "Group",
    "KernelCall",
    "Line",
    "Lineage",
    "Member",
    "NodeAt",
    "Step",
    "StepNode",
    "Way",
    "lineage",
    "node_at",
]
