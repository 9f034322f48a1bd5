"""Which values of a graph may lie in the same memory, and which nodes read and write it.

    memory = Memory(gm.graph)
    memory.of(node)              everything that may lie in the memory that node's result lies in
      .uses                      who reads or writes it, and when
      .inputs                    the inputs among them: the caller, or the next call, sees what is written there

A *place* is one tensor that a node returns: the node, and the way to the tensor in what it returns, ``()`` when it is
the tensor itself. Places are grouped by what operators say of themselves (``torch_internals.effects_of``). The memory
of fake tensors is asked where nobody says anything: of inputs, and of what is no operator (Dynamo's graphs have Python
functions and methods). When in doubt two places are in one group, and a call reads and writes all that it is given.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.graph import value_of

Place = tuple[fx.Node, tuple[Any, ...]]

# They ask for sizes and the like; what the memory holds does not matter to them.
_ASKS_SIZES = ("aten::sym_size", "aten::sym_stride", "aten::sym_numel", "aten::_assert_tensor_metadata")
_SIZE_METHODS = ("size", "stride", "dim", "ndimension", "numel", "nelement", "element_size", "storage_offset")
_SIZE_ATTRIBUTES = ("shape", "dtype", "device", "ndim", "layout", "is_cuda", "requires_grad")


@dataclass(frozen=True)
class Use:
    """A node reads a memory, or writes to it.

    Attributes:
        index: when; the place of the node in the graph.
        node: who.
        value: the node through which it does so.
        writes: whether it writes (it may read, too).
    """

    index: int
    node: fx.Node
    value: fx.Node
    writes: bool


@dataclass(eq=False)
class Group:
    """Values that may lie in the same memory.

    Attributes:
        places: them.
        uses: who reads or writes any of them, in no order. What makes a view of one reads nothing.
        inputs: placeholders and attributes of the module among them.
        returned: whether one of them is a result of the graph.
        changes: whether a node gives one of them other sizes, strides or memory.
    """

    places: list[Place] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    inputs: list[fx.Node] = field(default_factory=list)
    returned: bool = False
    changes: bool = False

    def first_write(self, after: int = -1) -> Use | None:
        """The first write behind the node with that index."""
        late = [use for use in self.uses if use.writes and use.index > after]
        return min(late, key=lambda use: use.index, default=None)

    def first_use(self, since: int) -> Use | None:
        """The first read or write by the node with that index, or behind it."""
        late = [use for use in self.uses if use.index >= since]
        return min(late, key=lambda use: use.index, default=None)


class Memory:
    """Groups of values, for a graph as it is now; what a pass changes it tells by :meth:`merge` and :meth:`adopt`.

    Args:
        graph: any fx graph with values in its metadata.

    Attributes:
        order: node -> its place in the graph.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.order = {node: index for index, node in enumerate(graph.nodes)}
        self._parents: dict[Place, Place] = {}
        self._groups: dict[Place, Group] = {}
        self._storages: dict[int, Place] = {}
        for node in graph.nodes:
            self._add(node)

    def of(self, node: fx.Node) -> Group:
        """The group of a node that returns one tensor."""
        return self._groups[self._root((node, ()))]

    def all_of(self, node: fx.Node) -> list[Group]:
        """The groups of all tensors that a node returns."""
        return list({id(group): group for group in map(self._group, places(node))}.values())

    def knows(self, node: fx.Node) -> bool:
        """Whether a node returns one tensor, and was in the graph from the beginning."""
        return (node, ()) in self._parents

    def merge(self, one: fx.Node, other: fx.Node) -> None:
        """A pass has put the value of one into the memory of the other."""
        self._join((one, ()), (other, ()))

    def adopt(self, new: fx.Node, old: fx.Node) -> None:
        """A pass has put a new node that returns one tensor in the place of one that was there."""
        self.order[new] = self.order[old]
        place = (new, ())
        self._parents[place] = place
        self._groups[place] = Group([place])
        self._join((old, ()), place)

    # -- groups -------------------------------------------------------------------------------------------

    def _group(self, place: Place) -> Group:
        return self._groups[self._root(place)]

    def _root(self, place: Place) -> Place:
        while self._parents[place] != place:
            self._parents[place] = self._parents[self._parents[place]]
            place = self._parents[place]
        return place

    def _join(self, one: Place, other: Place) -> None:
        kept, gone = self._root(one), self._root(other)
        if kept == gone:
            return
        if len(self._groups[kept].places) < len(self._groups[gone].places):
            kept, gone = gone, kept
        self._parents[gone] = kept
        group, more = self._groups[kept], self._groups.pop(gone)
        group.places += more.places
        group.uses += more.uses
        group.inputs += more.inputs
        group.returned |= more.returned
        group.changes |= more.changes

    # -- a graph, node by node ----------------------------------------------------------------------------

    def _add(self, node: fx.Node) -> None:
        own = places(node)
        for place in own:
            self._parents[place] = place
            self._groups[place] = Group([place])
        if node.op in ("placeholder", "get_attr"):
            for place in own:
                self._groups[place].inputs.append(node)
                self._by_storage(place)
            return
        if node.op == "output":
            for place in _given(node.args):
                self._use(node, place, writes=False)
                self._group(place).returned = True
            return
        if node.target is operator.getitem and self._item(node):
            return
        self._call(node, own)

    def _by_storage(self, place: Place) -> None:
        """Join a place with those before it whose fake tensors lie in the same storage."""
        value = _tensor_at(place)
        if value is not None and value.layout is torch.strided:
            found = self._storages.setdefault(torch_internals.storage_of(value), place)
            self._join(found, place)

    def _item(self, node: fx.Node) -> bool:
        """``x[i]`` of a node that returns several tensors: it is that one, and nothing is read."""
        source, key = node.args
        held = value_of(source) if isinstance(source, fx.Node) else None
        if not isinstance(source, fx.Node) or not isinstance(held, (tuple, list, dict)):
            return False
        if isinstance(key, int) and not isinstance(held, dict):
            key %= max(len(held), 1)
        for place in places(node):
            origin = (source, (key, *place[1]))
            for one in [origin] if origin in self._parents else places(source):  # a slice of a tuple: any of them
                self._join(one, place)
        return True

    def _call(self, node: fx.Node, own: list[Place]) -> None:
        effects, given = _effects(node)
        if "example_value" in node.meta:  # Dynamo ran it with fake tensors, which share memory as the real ones do
            for place in own:
                self._by_storage(place)
        if effects is None:
            self._call_unknown(node, own, given)
            return
        written = dict.fromkeys(place for name in effects.writes for place in _given(given.get(name)))
        for place in written:
            self._use(node, place, writes=True)
            self._group(place).changes |= effects.changes_metadata
        if not effects.is_view and not _asks_sizes(node):
            for place in _given(given):
                if place not in written:
                    self._use(node, place, writes=False)
        for place in own:
            which = place[1][0] if place[1] and len(effects.aliases) > 1 else 0
            for name in effects.aliases[which] if which < len(effects.aliases) else ():
                for other in _given(given.get(name)):
                    self._join(other, place)
        if effects.changes_metadata:  # x.set_(y): x lies where y does
            for one in _given(given):
                for other in written:
                    self._join(one, other)

    def _call_unknown(self, node: fx.Node, own: list[Place], given: dict[str, Any]) -> None:
        """A Python function, a method, a module, or a higher-order operator."""
        if _asks_sizes(node):
            return
        pure = torch_internals.is_pure_higher_order(node.target)
        told = "example_value" in node.meta and not torch_internals.is_higher_order(node.target)
        for place in _given(given):
            self._use(node, place, writes=not pure)
            for mine in own if not (pure or told) else ():
                self._join(place, mine)
        if torch_internals.is_auto_functionalized(node.target) and own:
            inner: Any = node.args[0]
            if not isinstance(inner, torch_internals.OpOverload) or torch_internals.has_aliased_results(inner):
                for place in own[1:]:
                    self._join(own[0], place)

    def _use(self, node: fx.Node, place: Place, writes: bool) -> None:
        if place in self._parents:
            self._group(place).uses.append(Use(self.order[node], node, place[0], writes))


def places(node: fx.Node) -> list[Place]:
    """The tensors that a node returns; what it returns is taken for one tensor when nothing is known of it."""
    if node.op == "output":
        return []
    value = value_of(node)
    if value is None and node.op != "get_attr" and "val" not in node.meta and "example_value" not in node.meta:
        return [(node, ())]
    return [(node, path) for path in _paths(value)]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, torch.Tensor):
        yield path
    elif isinstance(value, (tuple, list)):
        for index, part in enumerate(value):
            yield from _paths(part, (*path, index))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _paths(part, (*path, key))


def _tensor_at(place: Place) -> torch.Tensor | None:
    value = value_of(place[0])
    for key in place[1]:
        value = value[key]
    return value if isinstance(value, torch.Tensor) else None


def _given(argument: Any) -> list[Place]:
    """The places that stand in an argument; a node that returns several tensors stands for all of them."""
    nodes: dict[fx.Node, None] = {}
    fx.map_arg(argument, nodes.setdefault)
    return [place for node in nodes for place in places(node)]


def _effects(node: fx.Node) -> tuple[torch_internals.Effects | None, dict[str, Any]]:
    """What the operator of a node says of itself, and the node's arguments by the operator's names for them."""
    target, args = node.target, node.args
    if torch_internals.is_with_effects(target):
        target, args = args[1], args[2:]
    overload = torch_internals.op_overload(target) if node.op == "call_function" else None
    if overload is None:
        return None, {"args": node.args, **node.kwargs}
    effects = torch_internals.effects_of(overload)
    if target is not node.target and any(effects.aliases):  # its results stand behind a token
        return None, {"args": node.args, **node.kwargs}
    return effects, {**dict(zip(effects.parameters, args, strict=False)), **node.kwargs}


def _asks_sizes(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _SIZE_METHODS
    if node.target is getattr:
        return node.args[1] in _SIZE_ATTRIBUTES
    overload = torch_internals.op_overload(node.target)
    return overload is not None and overload.name().partition(".")[0] in _ASKS_SIZES
