"""Which nodes read what another one wrote in place: an order that no edge of a graph shows.

A node table has no schemas, so only what is certain is told: PyTorch's own operators whose names end with an underscore
(`aten.copy_`, `Tensor.add_`) or that are told `inplace=True`, assignments, and `out=`. What a custom operator writes
into is not known here. Views that may be copies (`reshape`) and parts of a tensor that may not overlap are passed over,
too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from cutaway.dump.arguments import is_in_place, operator_name, references
from cutaway.dump.schema import Node, NodeTable

_OURS = ("aten.", "prims.", "torch.", "operator.")
_WHOLE = frozenset(
    """T alias detach expand expand_as mT permute squeeze t transpose unflatten unsqueeze view view_as swapaxes swapdims
    movedim""".split()  # noqa: SIM905
)
_PART = frozenset({"as_strided", "diagonal", "narrow", "select", "slice"})
_PARTS = frozenset({"chunk", "split", "split_with_sizes", "unbind"})
_NO_WRITE = frozenset(
    """as_strided_ detach_ rename_ requires_grad_ resize_ retain_grad_ set_ share_memory_ squeeze_ swapaxes_ swapdims_
    t_ transpose_ unsqueeze_""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class _Memory:
    """Where a value lies: the node that made the memory, and which part of it, None for all."""

    root: int
    part: int | None


def reads_after_writes(table: NodeTable) -> dict[int, list[int]]:
    """For each node, those that wrote into what it reads after that was made, as far as that is certain; by ids.

    Args:
        table: a graph, in the order in which it runs.
    """
    memory: dict[int, _Memory] = {}
    several = {node.id for node in table.nodes if _is_ours(node) and operator_name(node) in _PARTS}
    place = {node.id: index for index, node in enumerate(table.nodes)}
    writes: dict[int, list[tuple[int, int | None]]] = {}
    found: dict[int, list[int]] = {}
    for node in table.nodes:
        refs = list(dict.fromkeys(references([*node.args, *node.kwargs.values()])))
        after: dict[int, None] = {}
        for ref in refs:
            read = memory.get(ref)
            for write in _before(read, writes.get(read.root, [])) if read is not None else ():
                if place[ref] < place[write] and write not in refs:
                    after[write] = None
        if after:
            found[node.id] = sorted(after)
        written = [ref for ref in _written(node) if ref in memory]
        for ref in written:
            writes.setdefault(memory[ref].root, []).append((node.id, memory[ref].part))
        memory[node.id] = memory[written[0]] if len(written) == 1 else _memory(node, memory, several)
    return found


def _before(read: _Memory, writes: list[tuple[int, int | None]]) -> Iterator[int]:
    """The last writes that must have been into what is read; what an earlier one wrote, these have read."""
    seen: set[int | None] = set()
    for write, part in reversed(writes):
        if part not in seen and (part is None or read.part is None or part == read.part):
            seen.add(part)
            yield write
        if part is None or part == read.part:
            return


def _memory(node: Node, memory: Mapping[int, _Memory], several: Set[int]) -> _Memory:
    """Where the value of a node lies that writes nothing, or several things; `several` yield several parts each."""
    own = _Memory(node.id, None)
    source = next(references(node.args[:1]), None)
    if source is None or source not in memory or not _is_ours(node):
        return own
    name = operator_name(node)
    if name in _WHOLE or name in _PARTS:
        return memory[source]
    is_part = name in _PART or (node.target == "operator.getitem" and source in several)
    return _Memory(memory[source].root, node.id) if is_part else own  # another index may be a copy


def _written(node: Node) -> Iterator[int]:
    """Ids of what a node certainly writes into."""
    if not _is_ours(node):
        return
    if "out" in node.kwargs:
        yield from references([node.kwargs["out"]])
    elif is_in_place(node) and operator_name(node) not in _NO_WRITE:
        yield from references(node.args[:1])


def _is_ours(node: Node) -> bool:
    if node.op == "call_method":
        return True
    return node.op == "call_function" and node.target.startswith(_OURS) and not node.target.startswith("torch.ops.")
