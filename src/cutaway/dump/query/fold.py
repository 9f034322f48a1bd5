"""Hits that are the same in several layers, stages, pieces and ranges, shown once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from cutaway.dump.query.fields import CALLS, dtypes, op_names
from cutaway.dump.query.glob import glob
from cutaway.dump.query.labels import label, pattern
from cutaway.dump.query.parse import Term
from cutaway.dump.query.search import Found, Hit
from cutaway.dump.query.view import View
from cutaway.dump.schema import Node, NodeTable, Output
from cutaway.record.layers.words import short_target, type_text


@dataclass
class Form:
    """Nodes that are equal up to their number of the layer: one operator of one line of Python.

    Attributes:
        compilation: the compilation that they are in.
        op: the operator as people say it, or the kind of node.
        cls: the class of the layer; empty when unknown.
        source: file and line; empty when unknown.
        names: fqns of the layers that they are in; for inputs, their model paths.
        siblings: all names of the same pattern that there are and that the query asks for.
        types: types of their values, the most common first; strides that follow from the shape are left out.
        providers: who implements them.
        stages, of: the stages that they are in, and those that they could be in, in order.
        ranges: the compile ranges that they are in; None when these are all.
        count: how many there are, at the stage that has most of them.
        example: the first of them.
    """

    compilation: str
    op: str
    cls: str
    source: str
    example: Hit
    names: list[str] = field(default_factory=list[str])
    siblings: list[str] = field(default_factory=list[str])
    types: list[str] = field(default_factory=list[str])
    providers: list[str] = field(default_factory=list[str])
    stages: list[str] = field(default_factory=list[str])
    of: list[str] = field(default_factory=list[str])
    ranges: list[str] | None = None
    count: int = 0

    @property
    def where(self) -> str:
        """The layers as one name; empty when unknown."""
        return label(self.names)

    @property
    def lacking(self) -> list[str]:
        """Names of the same pattern that have no such node."""
        return [name for name in self.siblings if name not in set(self.names)]


def fold(found: Found) -> list[Form]:
    """The hits, folded over layers, stages, pieces and ranges; in the order in which they first appear."""
    described = _Described()
    groups: dict[tuple[str, ...], _Group] = {}
    for hit in found.hits:
        node, name, cls = described.node(hit.node, hit.table), described.name(hit), described.cls(hit)
        key = (hit.view.snapshot.compilation or "", node.op, pattern(name), cls, node.source, node.dtype)
        if key not in groups:
            groups[key] = _Group(Form(key[0], node.op, cls, node.source, hit))
        groups[key].add(hit.view, name, node.types, hit.view.provider(hit.node))
    stages = _Stages(found.views, found.terms)
    return [group.form(stages) for group in groups.values()]


class _Group:
    """The hits of one form."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._names: dict[str, None] = {}
        self._types: Counter[str] = Counter()
        self._providers: Counter[str] = Counter()
        self._places: Counter[tuple[str, str | None]] = Counter()

    def add(self, view: View, name: str, types: str, provider: str) -> None:
        self._names[name] = None
        self._types[types] += 1
        self._providers[provider] += 1
        self._places[view.stage, view.snapshot.range] += 1

    def form(self, stages: _Stages) -> Form:
        """The form, when all its hits are added."""
        form, compilation = self._form, self._form.compilation
        form.names = [name for name in self._names if name]
        form.types = [text for text, _ in self._types.most_common() if text]
        form.providers = [who for who, _ in self._providers.most_common() if who]
        form.count = max(self._places.values())
        form.stages = stages.ordered({stage for stage, _ in self._places}, compilation)
        form.siblings = stages.siblings(form.names, compilation)
        form.of = stages.around(form.names, compilation) or stages.ordered(None, compilation)
        mine = {compile_range for _, compile_range in self._places if compile_range is not None}
        every = stages.ranges(form.stages, compilation)
        form.ranges = None if mine == set(every) else [each for each in every if each in mine]
        return form


class _Node(NamedTuple):
    """What is said of a node wherever its graph stands."""

    op: str
    source: str
    dtype: str
    types: str


class _Described:
    """What is said of hits; of equal graphs and of the nodes of one layer it is found once."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], _Node] = {}
        self._layers: dict[tuple[View, int, int], tuple[str, str]] = {}

    def node(self, node: Node, table: NodeTable) -> _Node:
        key = (id(table), node.id)
        if key not in self._nodes:
            source = table.source(node)
            where = f"{source.file.rpartition('/')[2]}:{source.line}" if source else ""
            self._nodes[key] = _Node(op_text(node), where, ",".join(dict.fromkeys(dtypes(node))), type_texts(node))
        return self._nodes[key]

    def name(self, hit: Hit) -> str:
        """The layer; for an input its model path, for a constant its attribute."""
        if hit.node.op == "placeholder":
            return hit.view.input(hit.node)
        return hit.node.target if hit.node.op == "get_attr" else self._layer(hit)[0]

    def cls(self, hit: Hit) -> str:
        """The class of the layer; empty when unknown."""
        return self._layer(hit)[1]

    def _layer(self, hit: Hit) -> tuple[str, str]:
        if hit.node.layer is None:
            return ("", "")
        key = (hit.view, id(hit.table), hit.node.layer)
        if key not in self._layers:
            fqn, _, cls = hit.layers[-1].rpartition(": ") if hit.layers else ("", "", "")
            self._layers[key] = (fqn, cls)
        return self._layers[key]


def op_text(node: Node) -> str:
    """The operator as people say it; the kind of node for inputs, constants and the output."""
    if node.op not in CALLS:
        return node.op
    *_, inner = op_names(node)
    short = short_target(node.target)
    return short if inner in (short, node.target) else f"{short}({short_target(inner)})"


def type_texts(node: Node) -> str:
    """The types of a node's values: `f32[s72, 256]`."""
    return ", ".join(text for value in (node, *(node.outputs or ())) if (text := _type(value)))


def _type(value: Node | Output) -> str:
    described = {"dtype": value.dtype, "shape": value.shape, "stride": None, "device": None, "value": value.value}
    return type_text(described, "")


class _Stages:
    """The stages, layers and ranges among which hits were looked for.

    Args:
        views: the graphs that were looked at.
        terms: what was looked for there.
    """

    def __init__(self, views: Sequence[View], terms: Sequence[Term]) -> None:
        self._asked = [term for term in terms if term.field == "layer"]
        self._order: dict[str, list[str]] = {}
        self._ranges: dict[tuple[str, str], dict[str, None]] = {}
        self._layers: dict[tuple[str, str], set[str]] = {}
        last: dict[str, str] = {}
        for view in views:
            snapshot, compilation = view.snapshot, view.snapshot.compilation or ""
            folder = snapshot.selector.rpartition("/")[0]
            _insert(self._order.setdefault(compilation, []), view.stage, last.get(folder))
            last[folder] = view.stage
            if snapshot.range is not None:
                self._ranges.setdefault((compilation, view.stage), {})[snapshot.range] = None
            for layer in view.layers:
                self._layers.setdefault((compilation, layer), set()).add(view.stage)

    def ordered(self, stages: set[str] | None, compilation: str) -> list[str]:
        """Stages in the order in which a graph goes through them; all of them for None."""
        return [stage for stage in self._order[compilation] if stages is None or stage in stages]

    def around(self, layers: Sequence[str], compilation: str) -> list[str]:
        """The stages that have any of these layers."""
        return self.ordered(set().union(*[self._layers.get((compilation, layer), ()) for layer in layers]), compilation)

    def siblings(self, layers: Sequence[str], compilation: str) -> list[str]:
        """All layers whose names have the pattern of these, and that were asked for by name."""
        patterns = dict.fromkeys(map(pattern, layers))
        return [layer for each in patterns for layer in self._patterns.get((compilation, each), ())]

    def ranges(self, stages: Sequence[str], compilation: str) -> list[str]:
        """The compile ranges that these stages were recorded for."""
        return list(dict.fromkeys(each for stage in stages for each in self._ranges.get((compilation, stage), ())))

    @cached_property
    def _patterns(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for compilation, layer in self._layers:
            if all(_is_below(layer, term) is not term.negated for term in self._asked):
                found.setdefault((compilation, pattern(layer)), []).append(layer)
        return found


def _is_below(layer: str, term: Term) -> bool:
    parts = layer.split(".")
    around = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return any(glob(value, numbers=True)(each) for value in term.values for each in around)


def _insert(order: list[str], stage: str, after: str | None) -> None:
    """Put a stage into the order, behind the one it was recorded after."""
    if stage not in order:
        order.insert(order.index(after) + 1 if after in order else len(order), stage)
