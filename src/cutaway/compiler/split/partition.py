"""A graph cut into pieces at its splitting ops, and the graph that puts them together again.

    split_graph ─► plan.plan_groups      which node goes to which piece
                ─► sequences.take_apart  no tuple crosses a cut
                ─► views.rebuild_views   no piece writes to memory that it takes twice
                ─► _Partition            what each piece takes and returns; one fx graph a piece; the stitching graph

torch's ``split_module`` does this for any assignment of nodes to pieces. Here pieces are runs of nodes in order, which
takes one walk, and no code is generated before somebody reads it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.split.item import SplitItem
from cutaway.compiler.split.ops import SplittingOps
from cutaway.compiler.split.plan import Group, plan_groups
from cutaway.compiler.split.sequences import symbol_nodes, take_apart
from cutaway.compiler.split.views import rebuild_views


def split_graph(gm: fx.GraphModule, splitting_ops: Sequence[str] | None) -> tuple[fx.GraphModule, list[SplitItem]]:
    """Cut a graph at its splitting ops.

    Every piece takes tensors, symbolic sizes and numbers, and returns a tuple; none takes or returns a tuple inside.
    Its inputs stand in the order of their first use; in a piece that is compiled, each tensor stands behind the
    symbols that its shape is made of (Inductor cannot solve ``2*s0`` for ``s0``). Constants that are tensors stay
    with the stitching graph and are inputs too (an artifact with a tensor inside cannot be loaded again); modules
    (bodies of ``cond``) go along.

    Args:
        gm: the graph, with a fake value in ``meta["example_value"]`` (or ``"val"``) of every node. Where it uses a
            shape whole across a cut, it is changed to use the parts, which computes the same.
        splitting_ops: names as in :func:`cutaway.compiler.split.ops.resolve`; tagged ops are added. None: leave the
            graph in one piece, tagged ops or not.

    Returns:
        The stitching graph (inputs, ``get_attr`` of tensors, calls of pieces, ``getitem`` on their results, output)
        with the pieces ``piece_00``, ... as sub-modules, and the pieces in the order in which they run. Nodes keep
        their names and metadata.

    Raises:
        SplitError: a name is unknown, or the graph cannot be cut there.
    """
    groups = plan_groups(gm.graph, () if splitting_ops is None else SplittingOps(splitting_ops))
    take_apart(gm.graph, groups)
    if rebuild_views(gm.graph, groups):
        take_apart(gm.graph, groups)  # what a view was made with may be a part of a shape
    return _Partition(gm, groups).build()


class _Partition:
    """What one split knows: which values each piece takes and returns."""

    def __init__(self, gm: fx.GraphModule, groups: Sequence[Group]) -> None:
        self.gm = gm
        self.groups = groups
        self.number = {node: number for number, group in enumerate(groups) for node in group.nodes}
        self.symbols = symbol_nodes(gm.graph)
        self.needed_abroad: set[fx.Node] = set()
        self.symbols_of: dict[fx.Node, tuple[Any, ...]] = {}
        self.attributes: dict[str, Any] = {}
        self.hand_on = {
            node for node in gm.graph.find_nodes(op="get_attr") if isinstance(self._attribute(node), torch.Tensor)
        }

    def build(self) -> tuple[fx.GraphModule, list[SplitItem]]:
        width = max(2, len(str(len(self.groups) - 1)))
        inputs = [self._inputs(number) for number in range(len(self.groups))]
        stitching = _Stitching(self.gm.graph)
        items: list[SplitItem] = []
        for number, group in enumerate(self.groups):
            outputs = [node for node in group.nodes if self._leaves(node, number)]
            piece = self._piece(group, inputs[number], outputs)
            name = f"piece_{number:0{width}}"
            stitching.call(name, inputs[number], outputs)
            items.append(SplitItem(name, number, group.is_splitting, piece))
        stitching.output()
        root = {item.submod_name: item.graph for item in items}
        root |= {str(node.target): self._attribute(node) for node in stitching.constants}
        split_gm = torch_internals.lazy_graph_module(root, stitching.graph)
        split_gm.meta = dict(self.gm.meta)
        return split_gm, items

    def _inputs(self, number: int) -> list[fx.Node]:
        """What a piece takes, in the order of first use; symbols of shapes before the tensor that has them."""
        group = self.groups[number]
        inside = self.number
        direct: dict[fx.Node, None] = {}
        for node in group.nodes:
            if torch_internals.sets_global_state(node.target):
                continue
            for other in node.all_input_nodes:
                if inside.get(other) != number and (other.op != "get_attr" or other in self.hand_on):
                    direct[other] = None
        found: dict[fx.Node, None] = {}
        for node in direct:
            for symbol in () if group.is_splitting else self._symbols_of(node):
                holder = self._holder(symbol, direct, number)
                if holder is not None:
                    found[holder] = None
            found[node] = None
        self.needed_abroad.update(found)
        return list(found)

    def _symbols_of(self, node: fx.Node) -> tuple[Any, ...]:
        known = self.symbols_of.get(node)
        if known is None:
            known = self.symbols_of[node] = torch_internals.symbols_in(_value(node))
        return known

    def _holder(self, symbol: Any, taken: Iterable[fx.Node], number: int) -> fx.Node | None:
        """The node that hands a symbol to a piece: one that it takes anyway, or the first that there is before it."""
        holders = self.symbols.get(symbol, [])
        before = [node for node in holders if self.number.get(node, -1) < number]
        return next((node for node in before if node in taken), before[0] if before else None)

    def _leaves(self, node: fx.Node, number: int) -> bool:
        """Whether a value is used outside of its piece: by a later one, by the result, or as a symbol of a shape."""
        if torch_internals.sets_global_state(node.target):
            return False
        return node in self.needed_abroad or any(self.number.get(user) != number for user in node.users)

    def _piece(self, group: Group, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        attributes: dict[str, Any] = {}

        def copy_of(node: fx.Node) -> fx.Node:
            found = copies.get(node)
            if found is None:
                assert node.op == "get_attr", f"{node.name} is no input of this piece"
                attributes[str(node.target)] = self._attribute(node)
                found = copies[node] = graph.node_copy(node)
            return found

        for node in inputs:
            copies[node] = placeholder = graph.placeholder(node.name)
            placeholder.meta = dict(node.meta)
            if node in self.hand_on and _value(node) is None:
                placeholder.meta["example_value"] = self._fake(self._attribute(node))
        for node in (*group.entering, *group.nodes):
            if node.op == "call_module":
                attributes[str(node.target)] = self.gm.get_submodule(str(node.target))
            copies[node] = graph.node_copy(node, copy_of)
        for node in reversed(group.leaving):
            graph.call_function(torch_internals.exit_autocast(), (copies[node],))
        graph.output(tuple(copies[node] for node in outputs))
        return torch_internals.lazy_graph_module(attributes, graph)

    def _attribute(self, node: fx.Node) -> Any:
        """The constant that a ``get_attr`` names."""
        name = str(node.target)
        if name not in self.attributes:
            self.attributes[name] = operator.attrgetter(name)(self.gm)
        return self.attributes[name]

    def _fake(self, constant: torch.Tensor) -> torch.Tensor:
        """A constant as the other values of this graph are: without memory; as it is when none of them is fake."""
        values = (_value(node) for node in self.gm.graph.nodes)
        modes = (torch_internals.fake_mode_of(value) for value in values if isinstance(value, torch.Tensor))
        mode = next((mode for mode in modes if mode is not None), None)
        return constant if mode is None else mode.from_tensor(constant, static_shapes=True)


class _Stitching:
    """The graph that calls the pieces, while it grows.

    Attributes:
        graph: it.
        constants: the ``get_attr`` nodes of the original that it took over.
    """

    def __init__(self, original: fx.Graph) -> None:
        self.original = original
        self.graph = fx.Graph()
        self.constants: list[fx.Node] = []
        self._copies: dict[fx.Node, fx.Node] = {}
        for node in original.find_nodes(op="placeholder"):
            self._copies[node] = self.graph.node_copy(node)

    def call(self, name: str, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> None:
        """Call a piece, and take its results out of the tuple."""
        result = self.graph.create_node("call_module", name, tuple(self._copy(node) for node in inputs), name=name)
        result.meta["example_value"] = tuple(_value(node) for node in outputs)
        for index, node in enumerate(outputs):
            args = (result, index)
            part = self.graph.create_node("call_function", operator.getitem, args, name=node.name)
            part.meta = dict(node.meta)
            self._copies[node] = part

    def output(self) -> None:
        """End the graph as the original ends."""
        self.graph.node_copy(self.original.output_node(), self._copy)

    def _copy(self, node: fx.Node) -> fx.Node:
        if node not in self._copies:
            assert node.op == "get_attr", f"{node.name} is computed by no piece before"
            self.constants.append(node)
            self._copies[node] = self.graph.node_copy(node)
        return self._copies[node]


def _value(node: fx.Node) -> Any:
    return node.meta.get("example_value", node.meta.get("val"))
