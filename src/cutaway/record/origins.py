"""Where each node of a graph comes from: the nodes of the previous snapshot that it stems from.

torch keeps little of this through passes (the pattern matcher copies the metadata of the last matched node), so
it is found from what changed, in this order, and left unknown when none applies:

1. the node is the same object as before: it stems from itself;
2. a pass put it in the place of nodes that are gone: it stems from all of those that it replaced, including the
   interior of a matched pattern. As was watched (changes.py), else as the two graphs show (:func:`replaced`);
3. the partitioner or the split copied the node, name and all: the value in its metadata is the same object;
4. AOTAutograd noted the node it was traced from (``meta["from_node"]``), or made a view anew (views.py); a node of a
   backward stems from what it is the derivative of. Copies keep their notes, and names mean other nodes in other
   graphs (Dynamo names them after the user's variables): a note counts for the graph that it was taken of alone;
5. it was copied under another name, and only one node has that value; or it stands at the same place among the
   inputs or results as before a trace;
6. the whole graph was copied, name by name (a backward that is compiled later).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx

from cutaway.record.changes import Changes
from cutaway.record.frozen import Frozen, freeze
from cutaway.record.groups import Groups
from cutaway.record.names import Path, Source
from cutaway.record.nodes import Origin, Table
from cutaway.record.views import made_anew

# What AOTAutograd calls the inputs of the function that it traces.
_TRACED_INPUT = re.compile(r"(arg\d+_\d+|primals_\d+)$")


@dataclass
class Remembered:
    """The previous snapshot of a graph, by reference, with what its table said of each node."""

    frozen: Frozen = field(default_factory=list)
    ids: dict[fx.Node, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    layers: list[list[str]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)

    @functools.cached_property
    def copies(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        """Identity -> id, for the nodes whose identity is unique: what a shallow copy of a node is recognised by."""
        found: dict[tuple[Any, ...], tuple[int, ...]] = {}
        for node, index in self.ids.items():
            key = _identity(node)
            found[key] = () if key in found else (index,)
        return found

    @functools.cached_property
    def by_name(self) -> dict[str, fx.Node]:
        """The nodes, when the graph is still held."""
        return {node.name: node for node in self.ids}

    @functools.cached_property
    def traced_from(self) -> frozenset[int]:
        """The graphs, by ``id``, that the notes of this graph's nodes are of: their names mean nothing here."""
        notes = [note for node in self.ids for note in node.meta.get("from_node") or ()]
        return frozenset(note.graph_id for note in notes) - {id(node.graph) for node in self.ids}

    def without_graph(self) -> Remembered:
        """What is left when the graph is let go: a copy of it is recognised by its names."""
        return Remembered(names=self.names, rows=self.rows, layers=self.layers, sources=self.sources)

    @classmethod
    def of(cls, gm: fx.GraphModule, table: Table, frozen: Frozen | None = None) -> Remembered:
        nodes = list(gm.graph.nodes)
        return cls(
            frozen=frozen or freeze(gm.graph),
            ids={node: index for index, node in enumerate(nodes)},
            names={node.name: index for index, node in enumerate(nodes)},
            rows=table["nodes"],
            layers=table["layers"],
            sources=table["sources"],
        )

    def origin(self, ids: Iterable[int]) -> Origin:
        """The origin made of these nodes: their common layer, and the source line of the last that has one."""
        ids = tuple(sorted(set(ids)))
        if len(ids) == 1:
            return self._origin_of(ids[0])
        paths = [tuple(self.layers[row["layer"]]) for row in (self.rows[i] for i in ids) if "layer" in row]
        lines = [self.sources[self.rows[i]["source"]] for i in ids if "source" in self.rows[i]]
        return Origin(ids, _common(paths), _place(lines[-1]) if lines else None)

    def _origin_of(self, index: int) -> Origin:
        row = self.rows[index]
        layer, source = row.get("layer"), row.get("source")
        return Origin(
            (index,),
            None if layer is None else tuple(self.layers[layer]) or None,
            None if source is None else _place(self.sources[source]),
            row.get("input"),
        )


def _place(source: dict[str, Any]) -> Source:
    return (source["file"], source["line"], source["function"], source["code"])


def _common(paths: list[Path]) -> Path | None:
    """The one layer of all, or the innermost layer that contains all of them."""
    if not paths:
        return None
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if any(part != parts[0] for part in parts):
            break
        common.append(parts[0])
    return tuple(common) or None


def find_origins(
    gm: fx.GraphModule, previous: Remembered | None, changes: Changes | None = None
) -> dict[fx.Node, Origin]:
    """What is known of every node of ``gm`` from the previous snapshot (see the module's docstring).

    Args:
        gm: the graph as it is now.
        previous: the snapshot before it.
        changes: what passes did to the graph since then, as far as that was watched.
    """
    if previous is None:
        return {}
    kept = any(node in previous.ids for node in gm.graph.nodes)
    stand_ins = _stand_ins(gm, previous, changes) if kept else {}
    copies = {} if kept else previous.copies
    inputs = {} if kept else _same_places(gm, previous)
    copied = not kept and [node.name for node in gm.graph.nodes] == list(previous.names)
    found: dict[fx.Node, Origin] = {}
    for node in gm.graph.nodes:
        if node in previous.ids:
            ids: Iterable[int] = (previous.ids[node], *stand_ins.get(node, ()))
        else:
            ids = stand_ins.get(node) or (() if kept else _copied(node, previous)) or _noted(node, previous)
            ids = ids or copies.get(_identity(node)) or inputs.get(node, ())
            ids = ids or ((previous.names[node.name],) if copied else ())
        if ids:
            origin = previous.origin(ids)
            found[node] = replace(origin, sure=True) if origin.ids == (previous.ids.get(node),) else origin
    if not kept:
        known = {node: origin.ids for node, origin in found.items()}
        for node, view in made_anew(gm.graph, known, previous.rows).items():
            found[node] = replace(previous.origin((view,)), sure=True)
        for node, ids in _derivatives(gm.graph, found).items():
            found[node] = previous.origin(ids)
    return found


def _stand_ins(gm: fx.GraphModule, previous: Remembered, changes: Changes | None) -> dict[fx.Node, set[int]]:
    """Node -> ids of the old nodes that it stands for: as was watched, else as the two graphs show."""
    watched: dict[fx.Node, set[int]] = {}
    if changes is not None and changes.gm is gm:
        watched = changes.stand_ins(previous.ids, {entry[0]: _inputs(*entry[2:]) for entry in previous.frozen})
    if all(node in previous.ids or node in watched for node in gm.graph.nodes):
        return watched
    return replaced(previous, gm.graph) | watched


def _derivatives(graph: fx.Graph, found: Mapping[fx.Node, Origin]) -> dict[fx.Node, set[int]]:
    """Nodes of the backward in a joint graph -> ids that the node stems from whose derivative they are a part of.

    torch numbers them alike (``seq_nr``; ``copy_fwd_metadata_to_bw_nodes`` in torch/_functorch/_aot_autograd/utils.py);
    a sum of gradients stems from what is summed up.
    """
    forward: dict[Any, fx.Node] = {}
    derived: dict[fx.Node, set[int]] = {}
    for node in graph.nodes:
        number = node.meta.get("seq_nr")
        is_backward = node.meta.get("partitioner_tag") == "is_backward"
        if number is None or (is_backward and node in found):
            continue
        if not is_backward:
            forward.setdefault(number, node)
        elif node.meta.get("is_gradient_acc"):
            parts = [part for part in node.all_input_nodes if part in found or part in derived]
            derived[node] = set[int]().union(*(found[part].ids if part in found else derived[part] for part in parts))
        elif forward.get(number) in found:
            derived[node] = set(found[forward[number]].ids)
    return {node: ids for node, ids in derived.items() if ids}


def _same_places(gm: fx.GraphModule, previous: Remembered) -> dict[fx.Node, tuple[int, ...]]:
    """Inputs and results -> those at the same places before, when a trace kept them (AOTAutograd does).

    In a joint graph, the gradients of the results stand behind the inputs. A backward takes what its forward saved:
    other inputs, which may be as many.
    """
    now, before = _inputs_of(gm.graph.nodes), _inputs_of(previous.ids)
    if len(now) != len(before):
        return {}
    pairs = list(zip(now, before, strict=True))
    if not all(new.name == old.name or _TRACED_INPUT.match(new.name) for new, old in pairs):
        return {}
    results = _inputs(gm.graph.output_node().args, {})
    ends = [entry for entry in previous.frozen if entry[0].op == "output" and entry[0] in previous.ids]
    results_before = [arg for entry in ends for arg in _inputs(entry[2], {})]
    if len(results) == len(results_before):
        pairs = [*zip(results, results_before, strict=True), *pairs]
    return {new: (previous.ids[old],) for new, old in pairs}


def _inputs_of(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    return [node for node in nodes if node.op == "placeholder" and not node.name.startswith("tangents_")]


def replaced(previous: Remembered, graph: fx.Graph) -> dict[fx.Node, set[int]]:
    """New node -> ids of the old nodes that its group of new nodes stands for.

    New nodes that feed each other form a group, and so do removed nodes. Where a node that stayed used to read a
    removed node and now reads a new one, the new node's group replaces the removed node's group. A new group that
    nobody reads (it writes into its inputs) replaces the removed groups that read the same nodes.
    """
    now = set(graph.nodes)
    gone = {node for node in previous.ids if node not in now}
    new = {node for node in graph.nodes if node not in previous.ids}
    if not gone or not new:
        return {}
    before_now = {entry[0]: entry for entry in previous.frozen}
    old_inputs = {node: _inputs(*before_now[node][2:]) for node in gone}
    gone_groups = Groups(gone, old_inputs)
    new_groups = Groups(new, {node: list(node.all_input_nodes) for node in new})
    pairs: dict[int, set[int]] = {}
    for node in graph.nodes:
        if node in new:
            continue
        _, _, args, kwargs = before_now[node]
        if node.args is args and node.kwargs is kwargs:  # it reads what it read
            continue
        before, after = _inputs(args, kwargs), _inputs(node.args, node.kwargs)
        if len(before) != len(after):
            continue
        for old, current in zip(before, after, strict=True):
            if old in gone and current in new:
                pairs.setdefault(new_groups.of(current), set()).add(gone_groups.of(old))
    read_by_gone = _read(gone, old_inputs, gone_groups)
    for group, read in _read(new, {node: list(node.all_input_nodes) for node in new}, new_groups).items():
        if group not in pairs and read:
            alike = {other for other, nodes in read_by_gone.items() if nodes == read}
            pairs.update({group: alike} if alike else {})
    members: dict[int, set[int]] = {}
    for node in gone:
        members.setdefault(gone_groups.of(node), set()).add(previous.ids[node])
    return {
        node: set[int]().union(*(members[group] for group in pairs[new_groups.of(node)]))
        for node in new
        if new_groups.of(node) in pairs
    }


def _read(
    nodes: set[fx.Node], inputs: Mapping[fx.Node, list[fx.Node]], groups: Groups
) -> dict[int, frozenset[fx.Node]]:
    """Group -> the nodes outside of it that it reads."""
    found: dict[int, set[fx.Node]] = {}
    for node in nodes:
        found.setdefault(groups.of(node), set()).update(other for other in inputs[node] if other not in nodes)
    return {group: frozenset(read) for group, read in found.items()}


def _inputs(args: Any, kwargs: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg((args, kwargs), found.append)
    return found


def _copied(node: fx.Node, previous: Remembered) -> tuple[int, ...]:
    """The node of the same name, operator and value, when no other one has that value."""
    ids = previous.copies.get(_identity(node), ())
    return ids if ids == (previous.names.get(node.name),) and _value(node) is not None else ()


def _noted(node: fx.Node, previous: Remembered) -> tuple[int, ...]:
    """The node's own note of where it was traced from, newest first, as far as it is of the previous graph."""
    notes: list[Any] = list(node.meta.get("from_node") or [])
    while notes:
        note = notes.pop()
        old = previous.by_name.get(note.name)
        if old is not None and note.target == str(old.target) and note.graph_id not in previous.traced_from:
            return (previous.ids[old],)
        notes.extend(note.from_node or [])
    return ()


def _identity(node: fx.Node) -> tuple[Any, ...]:
    """What a shallow copy of a node keeps: the operator, and the very objects in its metadata."""
    target = node.target if node.op != "placeholder" else None
    return (node.op, target, id(_value(node)), id(node.meta.get("stack_trace")))


def _value(node: fx.Node) -> Any:
    return node.meta.get("example_value", node.meta.get("val"))
