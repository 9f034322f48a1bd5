"""Which nodes may write into values that others read: where the order of nodes matters.

A node table has no schemas, so this goes by what a node looks like: what has a name that ends with an underscore
(`aten.copy_`, `Tensor.add_`) or is told `inplace=True` writes into its first argument, `out=` is written, and a custom
operator that nobody reads must have written into something it was given, or it would not be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cutaway.dump.arguments import is_in_place, operator_name
from cutaway.dump.schema import Node

_PURE = ("aten.", "vllm_ir.", "prims.", "operator.", "torch.", "math.", "builtins.", "higher_order.")
_VIEWS = frozenset(
    """T _unsafe_view alias as_strided chunk detach diagonal expand expand_as flatten getitem mT narrow permute reshape
    select slice split split_with_sizes squeeze t transpose unbind unflatten unsqueeze view view_as""".split()  # noqa: SIM905
)


def last_writes(
    nodes: Sequence[Node], refs: Sequence[Sequence[int]], users: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[int, ...]]:
    """For each node, the last ones before it that may have written into what it reads, by place in the table.

    Args:
        nodes: the nodes in order.
        refs: what each reads.
        users: who reads each.
    """
    found: list[tuple[int, ...]] = []
    roots: list[int] = []
    last: dict[int, int] = {}
    for index, node in enumerate(nodes):
        roots.append(_root(nodes, refs[index], roots, index))
        read = [roots[ref] for ref in refs[index]]
        found.append(tuple(sorted({last[root] for root in read if root in last} - set(refs[index]))) if last else ())
        for position in _written(node, refs[index], bool(users[index])):
            last[read[position]] = index
    return found


def _root(nodes: Sequence[Node], refs: Sequence[int], roots: Sequence[int], index: int) -> int:
    """The node whose memory a node's value lies in; a result of an operator with several has its own."""
    name = operator_name(nodes[index])
    if not refs or not nodes[index].op.startswith("call_") or name not in _VIEWS:
        return index
    of_its_own = name == "getitem" and nodes[refs[0]].shape is None and roots[refs[0]] == refs[0]
    return index if of_its_own else roots[refs[0]]


def _written(node: Node, refs: Sequence[int], is_read: bool) -> Sequence[int]:
    """Which of a node's references it may write into."""
    if not refs or not node.op.startswith("call_"):
        return ()
    if "out" in node.kwargs:
        return range(_count(list(node.args)), len(refs))
    if is_in_place(node):
        return range(_count(node.args[:1]) or 1)  # `_foreach_add_` writes into a list of them
    if is_read or node.op == "call_method" or node.target.startswith(_PURE):
        return ()
    return range(len(refs))


def _count(value: Any) -> int:
    """How many references an argument holds."""
    if isinstance(value, list):
        return sum(_count(each) for each in value)
    if not isinstance(value, dict):
        return 0
    return 1 if "node" in value else sum(_count(each) for each in value.values())
