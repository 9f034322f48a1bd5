"""Clones whose memory nobody needs are removed: what in-place implementations leave behind once they are lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from cutaway.compiler.passes.aliasing import Memory
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.copies import why_needed
from cutaway.compiler.passes.graph import placeholders_at
from cutaway.compiler.passes.inductor_pass import InductorPass


@dataclass(frozen=True)
class CloneElimination(InductorPass):
    """Puts the original in the place of an ``aten.clone``, where the results stay what they are.

    A clone stays when it lies in memory in another way than the original; when somebody reads the original, or a view
    of it, after a write to the clone or a view of that, or the clone after a write to the original; when it is written
    to and the original is an input that was not donated, or a weight; when a result would come to lie in the memory of
    such an input, or of another result.

    Reports ``removed`` and ``kept``, and the note ``kept``: clone -> why.

    Idea: vLLM's ``UnsafeCloneEliminationPass``, which looks at direct users alone. That a write is seen through views
    is taken from torch's reinplacing (torch/_inductor/fx_passes/reinplace.py).
    """

    name: ClassVar[str] = "clone_elimination"

    def __call__(self, graph: fx.Graph) -> None:
        context = get_pass_context()
        clones = graph.find_nodes(op="call_function", target=torch.ops.aten.clone.default)
        kept: dict[str, str] = {}
        if clones:
            memory = Memory(graph)
            donated = placeholders_at(graph, context.donated_inputs)
            for clone in sorted(clones, key=memory.order.__getitem__):
                source = clone.args[0]
                assert isinstance(source, fx.Node)
                why = why_needed(clone, source, memory, donated)
                if why:
                    kept[clone.name] = why
                    continue
                memory.merge(source, clone)
                clone.replace_all_uses_with(source)
                graph.erase_node(clone)
        context.report.count("removed", len(clones) - len(kept))
        context.report.count("kept", len(kept))
        if kept:
            context.report.note("kept", kept)
