"""Several splits of one tensor in the same way become one, so that patterns find all of its parts in one place."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.graph import argument, same_sizes, tensor_of, value_of
from cutaway.compiler.passes.inductor_pass import InductorPass

aten = torch.ops.aten

_SPLITS = (
    aten.split_with_sizes.default, aten.split.Tensor, aten.split.sizes, aten.chunk.default,
    aten.tensor_split.sections, aten.tensor_split.indices,
)  # fmt: skip


@dataclass(frozen=True)
class SplitCoalescing(InductorPass):
    """Merges splits of one tensor along one dimension into parts of the same sizes, however they were asked for.

    ``split(x, 2)``, ``split_with_sizes(x, [2, 2])`` and ``chunk(x, 2)`` of four rows are the same split; the first of
    them stays. Then merges what takes the same part of a split.

    Reports ``splits`` and ``parts``: how many of each were removed.

    Idea: vLLM's ``SplitCoalescingPass``, for which two splits are equal when their lists of numbers are. (Functorch's
    common subexpression elimination takes no node with a list among its arguments.)
    """

    name: ClassVar[str] = "split_coalescing"

    def __call__(self, graph: fx.Graph) -> None:
        report = get_pass_context().report
        kept: dict[Any, list[fx.Node]] = {}
        for node in list(graph.nodes):
            if node.op != "call_function" or node.target not in _SPLITS:
                continue
            known = kept.setdefault((argument(node, "self"), _dimension(node)), [])
            same = next((one for one in known if _same_parts(one, node)), None)
            if same is None:
                known.append(node)
                continue
            node.replace_all_uses_with(same)
            graph.erase_node(node)
            report.count("splits")
        for splits in kept.values():
            for split in splits:
                report.count("parts", _merge_parts(graph, split))


def _dimension(node: fx.Node) -> int | None:
    """Along which dimension a split goes, counted from the first."""
    whole = tensor_of(argument(node, "self"))
    dim = argument(node, "dim", 0)
    return None if whole is None or not isinstance(dim, int) else dim % max(whole.dim(), 1)


def _same_parts(one: fx.Node, other: fx.Node) -> bool:
    """Whether two splits have parts that lie in the same places."""
    mine, others = value_of(one), value_of(other)
    return (
        isinstance(mine, (tuple, list))
        and isinstance(others, (tuple, list))
        and len(mine) == len(others)
        and all(same_sizes(left.shape, right.shape) for left, right in zip(mine, others, strict=True))
    )


def _merge_parts(graph: fx.Graph, split: fx.Node) -> int:
    """Let each part be taken once; how many takings were removed."""
    taken: dict[Any, fx.Node] = {}
    removed = 0
    number = len(value_of(split))
    for user in sorted(split.users):
        if user.target is not operator.getitem or not isinstance(user.args[1], int):
            continue
        first = taken.setdefault(user.args[1] % number, user)
        if first is not user:
            user.replace_all_uses_with(first)
            graph.erase_node(user)
            removed += 1
    return removed
