"""Whether a copy is needed: what would change if what it was made of took its place."""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.aliasing import Group, Memory
from cutaway.compiler.passes.graph import same_layout, same_offset

_BY_OFFSET = ("aten::as_strided", "aten::sym_storage_offset")  # they count from where the memory begins


def why_needed(copy: fx.Node, source: fx.Node, memory: Memory, donated: Collection[fx.Node]) -> str:
    """Why a node that copies a tensor must stay, in a few words; empty when the tensor can take its place.

    Until now the two lie in different memory. In one, whoever reads either after a write to the other reads something
    else than before: so there must be no such write that anybody reads behind, the caller included.

    Args:
        copy: returns a new tensor with the content of ``source``.
        source: a node before it.
        memory: of their graph, with what passes have put together since.
        donated: placeholders whose memory the caller has given away.
    """
    if not (memory.knows(copy) and memory.knows(source)):
        return "not one tensor"
    if not same_layout(copy, source):
        return "it lies in another way"
    copies, originals = memory.of(copy), memory.of(source)
    if copies.changes or originals.changes:
        return "a tensor is given other memory or sizes"
    if not same_offset(copy, source) and (copies.returned or _counts_from_the_beginning(copies)):
        return "it begins elsewhere in its memory"
    kept = [node for node in originals.inputs if node not in donated]
    if copies.returned and originals.returned:
        return "two results would lie in one memory"
    if copies.returned and kept:
        return f"a result would lie in the memory of {kept[0].name}"
    return _read_behind_a_write(copies, originals, kept, memory.order[copy])


def _read_behind_a_write(copies: Group, originals: Group, kept: list[fx.Node], copied: int) -> str:
    write = copies.first_write(copied)
    if write is not None:
        if kept:
            return f"{write.node.name} writes to it, and {kept[0].name} is not given away"
        late = originals.first_use(write.index)
        if late is not None:
            return f"{late.node.name} uses the original after {write.node.name} wrote to the copy"
    write = originals.first_write(copied)
    if write is not None:
        late = copies.first_use(write.index)
        if late is not None:
            return f"{late.node.name} uses the copy after {write.node.name} wrote to the original"
    return ""


def _counts_from_the_beginning(group: Group) -> bool:
    """Whether somebody looks at a value's offset into its memory, or is no operator (then nobody knows)."""
    for node, _ in group.places:
        for user in (node, *node.users):
            if user.op == "call_function" and torch_internals.is_higher_order(user.target):
                return True
            overload = torch_internals.op_overload(user.target)
            if overload is not None and overload.name().startswith(_BY_OFFSET):
                return True
    return False
