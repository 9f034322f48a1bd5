"""Which nodes of a last graph move memory, in which kernels they run, and how many bytes pass between kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cutaway.dump.arguments import references
from cutaway.dump.schema import Node, NodeTable
from cutaway.explain.shapes.terms import value_of
from cutaway.record.layers.words import ITEM_SIZES, short_name

_VIEWS = re.compile(
    r"view|reshape|_unsafe_view|(unsafe_)?split(_with_sizes)?|slice|select|getitem|permute|transpose|t|unsqueeze|squeeze"
    r"|expand|alias|detach|as_strided|unbind|chunk|narrow|diagonal|view_as_(real|complex)|_reshape_alias|unfold|movedim"
)
# These compute more than they read: what feeds them, or reads what they return, is not held up by memory alone.
_COMPUTES = re.compile(
    r"(?:^|_)(?:\w*mm|matmul|linear|conv(?:olution)?(?:\dd)?|attention|sdpa|einsum|lstm|gru|fft|v?dot|cholesky|solve|svd"
    r"|eig|qr|inverse|moe|experts?|flash|paged|mamba|scan|all_reduce|all_gather|reduce_scatter|all_to_all|broadcast"
    r"|wait_tensor)(?:_|$|\d|\.)"
)
_MAKES = re.compile(r"empty(_strided|_like)?|full(_like)?|zeros|ones|arange|scalar_tensor|sym_size")


def is_view(node: Node) -> bool:
    """Whether a node only looks at memory otherwise."""
    return node.op == "call_function" and _VIEWS.fullmatch(_bare(node)) is not None


def is_memory_bound(node: Node) -> bool:
    """Whether a node's time is that of reading and writing: no view, no product of matrices, no new memory alone."""
    if node.op != "call_function" or is_view(node) or _MAKES.fullmatch(_bare(node)):
        return False
    return not _COMPUTES.search(called(node))


def called(node: Node) -> str:
    """The operator's short name; of an operator in a functional wrapper, the one inside."""
    name = short_name(node.target)
    if name.startswith("auto_functionalized") and node.args:
        inner = node.args[0]
        return short_name(str(inner["repr"])) if isinstance(inner, dict) and "repr" in inner else name
    return name


def _bare(node: Node) -> str:
    return short_name(node.target).partition(".")[0]


@dataclass
class Traffic:
    """The kernels of a last graph, and what passes between them.

    Args:
        table: the graph.
        kernels: call of a kernel -> names of the nodes that it computes.

    Attributes:
        nodes: by name.
        inside: node -> the calls that compute it, the first that does first.
        reads: node -> the nodes whose memory it reads, views passed over.
    """

    table: NodeTable
    kernels: Mapping[str, Sequence[str]]
    nodes: dict[str, Node] = field(init=False)
    inside: dict[str, tuple[str, ...]] = field(init=False)
    reads: dict[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.table.nodes}
        by_id = {node.id: node for node in self.table.nodes}
        self.inside = {node.name: self._calls_of(node) for node in self.table.nodes}
        self.reads = {node.name: tuple(dict.fromkeys(self._behind_views(node, by_id))) for node in self.table.nodes}

    def _calls_of(self, node: Node) -> tuple[str, ...]:
        """The calls that compute a node; of a product of matrices, the library's, not those that fuse around it."""
        found = [call for call, names in self.kernels.items() if node.name in names and _may_be_in(call, node)]
        library = [call for call in found if _is_library(call)]
        return tuple(library if library and not is_memory_bound(node) else found)

    def _behind_views(self, node: Node, by_id: Mapping[int, Node]) -> Iterator[str]:
        """What a node reads; nodes in no kernel, such as a `cat` whose parts are written in place, pass it on."""
        for identity in references([*node.args, *node.kwargs.values()]):
            source = by_id[identity]
            if source.op == "call_function" and (is_view(source) or not self.inside[source.name]):
                yield from self._behind_views(source, by_id)
            else:
                yield source.name

    def crossings(self) -> Iterator[tuple[str, str]]:
        """Pairs of nodes, the second reading the first out of memory, because no kernel computes both."""
        for reader, sources in self.reads.items():
            here = set(self.inside[reader])
            for source in sources:
                if here and self.inside[source] and here.isdisjoint(self.inside[source]):
                    yield source, reader

    def outside_readers(self, name: str, kernels: frozenset[str]) -> bool:
        """Whether something besides these kernels reads a node's result: another kernel, or the caller."""
        return any(
            name in sources and (self.nodes[reader].op == "output" or kernels.isdisjoint(self.inside[reader]))
            for reader, sources in self.reads.items()
        )

    def bytes(self, name: str, sizes: Mapping[str, int]) -> int | None:
        """How large a node's result is for these sizes; None when its dtype or sizes are unknown."""
        node = self.nodes[name]
        item = ITEM_SIZES.get(node.dtype or "")
        if item is None or node.shape is None:
            return None
        total = item
        for size in node.shape:
            value = size if isinstance(size, int) else value_of(size, sizes)
            if value is None:
                return None
            total *= value
        return total


def _is_library(call: str) -> bool:
    return call.startswith(("torch.ops.", "extern_kernels.", "aten."))


def _may_be_in(call: str, node: Node) -> bool:
    """A library call computes its own operator; older recordings list the unfused inputs of it as well."""
    if _is_library(call):
        return called(node).partition(".")[0] in re.split(r"[.#]", call)
    return True
