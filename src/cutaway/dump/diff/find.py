"""The rewrites between two graphs, each by itself, with a key that is equal where they are the same."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec

from cutaway.dump.diff.changes import Change, Comparison, Providers
from cutaway.dump.diff.groups import Groups
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.passes import Doings
from cutaway.dump.diff.regions import Region, regions
from cutaway.dump.diff.result import Kind, Place, Rewrite, op_name
from cutaway.dump.diff.terms import HOLE, Labels, Terms
from cutaway.dump.schema import Node
from cutaway.record.layers.words import type_text

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d{1,18}(?=\.|$)")
"""The number of a block, which is a component of its own: `3` in `layers.3.mlp`."""
_VALUES = ("float", "bool", "sym")


@dataclass(frozen=True)
class Found:
    """A rewrite in one place.

    Attributes:
        key: equal for rewrites that are the same up to names and the layer's number.
        rewrite: it, with its one place.
    """

    key: Hashable
    rewrite: Rewrite

    @property
    def place(self) -> Place:
        return self.rewrite.places[0]

    def by(self, done: Doings) -> Found:
        """The same with the passes that did it."""
        return Found(self.key, replace(self.rewrite, passes=done.of(self.place)))

    def at(self, part: int, layers: Mapping[str, str]) -> Found:
        """The same in another pair of graphs, whose layers are called otherwise."""
        place = self.place
        layer = None if place.layer is None else layers.get(place.layer, place.layer)
        names = tuple(layers.get(name, name) for name in place.layers)
        return Found(self.key, replace(self.rewrite, places=(replace(place, part=part, layer=layer, layers=names),)))


def find(pairing: Pairing, part: int, labels: Labels, providers: Providers) -> list[Found]:
    """The rewrites between two graphs, each by itself, in the order of the graph before.

    Args:
        pairing: which node is which.
        part: the index of the two graphs among the diff's parts.
        labels: numbers for keys, the same for all parts of a diff.
        providers: node name -> provider, of each graph's snapshot.
    """
    comparison = Comparison(pairing, providers)
    one = _One(pairing, part, labels, providers)
    found = [one.replaced(region) for region in regions(pairing, comparison.uses)]
    found += [one.changed(group) for group in _together(pairing, comparison.changes)]
    return sorted(found, key=lambda each: (each.place.before or each.place.after)[0])


def _together(pairing: Pairing, changes: Mapping[int, Sequence[Change]]) -> Iterator[list[Change]]:
    """Changes of the same kinds in nodes that read each other, before or after; of a name, each by itself."""
    kinds = {index: frozenset(change.what for change in some) for index, some in changes.items()}
    groups = Groups(sorted(changes))
    for index in changes:
        after = (pairing.of_after.get(ref, -1) for ref in pairing.after.refs[pairing.of_before[index]])
        for other in (*pairing.before.refs[index], *after):
            if other in changes and kinds[other] == kinds[index] and tuple(kinds[index]) != ("target",):
                groups.join(index, other)
    yield from ([change for index in members for change in changes[index]] for members in groups.members())


class _One:
    """Rewrites between two graphs, one by one."""

    def __init__(self, pairing: Pairing, part: int, labels: Labels, providers: Providers) -> None:
        self.pairing = pairing
        self.part = part
        self.providers = providers
        self.sides = _Side(pairing.before, labels), _Side(pairing.after, labels)

    def replaced(self, region: Region) -> Found:
        """Nodes that became others, were put in or taken out."""
        old, new = self.pairing.before, self.pairing.after
        kind: Kind = "inserted" if not region.gone else "deleted" if not region.new else "replaced"
        uses = [(old.nodes[use.user].id, old.nodes[use.old].id, new.nodes[use.new].id) for use in region.uses]
        return self._found(kind, region.gone, region.new, (), tuple(uses))

    def changed(self, changes: Sequence[Change]) -> Found:
        """Nodes that stayed, and differ."""
        old = self.pairing.before
        before = sorted({old.index[change.before] for change in changes})
        kind: Kind = "moved" if all(change.what == "order" for change in changes) else "changed"
        return self._found(kind, before, [self.pairing.of_before[index] for index in before], tuple(changes), ())

    def _found(
        self,
        kind: Kind,
        before: Sequence[int],
        after: Sequence[int],
        changes: tuple[Change, ...],
        uses: tuple[tuple[int, int, int], ...],
    ) -> Found:
        old, new = self.pairing.before.nodes, self.pairing.after.nodes
        paths = [self.sides[side].path(i) for side, some in enumerate((before, after)) for i in some]
        paths = [path for path in paths if path]
        layer, cls = common_layer(paths)
        ids = tuple(old[i].id for i in before), tuple(new[i].id for i in after)
        place = Place(self.part, layer, tuple(dict.fromkeys(path[-1][0] for path in paths)), *ids, changes, uses)
        ops = tuple(self._name(old[i]) for i in before), tuple(self._name(new[i]) for i in after)
        what = tuple(dict.fromkeys(change.what for change in changes))
        types = self._types(place) if kind == "replaced" else ()
        providers = self._providers(before, after)
        key: Hashable = (kind, self._key(place, paths, before, after), self._changes(changes), providers)
        if what == ("target",):
            key = self._changes(changes)
        return Found(key, Rewrite(kind, *ops, what, cls, providers, types, (place,)))

    def _key(
        self, place: Place, paths: Sequence[Sequence[tuple[str, str]]], before: Sequence[int], after: Sequence[int]
    ) -> Hashable:
        numbers = [block_number(path[-1][0]) for path in paths]
        base = min([number for number in numbers if number is not None], default=None)
        return (pattern(place.layer), self.sides[0].key(before, base), self.sides[1].key(after, base))

    @staticmethod
    def _changes(changes: Sequence[Change]) -> Hashable:
        return tuple((change.what, repr(change.old), repr(change.new)) for change in changes)

    def _name(self, node: Node) -> str:
        return op_name(node.op, node.target)

    def _types(self, place: Place) -> tuple[tuple[str, str], ...]:
        """What those read that stayed: the type before and after, where it is another."""
        gone, there = set(place.before), set(place.after)
        pairs = dict.fromkeys((old, new) for _, old, new in place.uses if old in gone and new in there)
        texts = [(self.sides[0].type(old), self.sides[1].type(new)) for old, new in pairs]
        return tuple(dict.fromkeys(pair for pair in texts if pair[0] != pair[1]))

    def _providers(self, before: Sequence[int], after: Sequence[int]) -> tuple[str, ...]:
        """Who implements it: as recorded for what is there now, or what was expected of what was there before."""
        for some, terms, known in (
            (before, self.pairing.before, self.providers),
            (after, self.pairing.after, self.providers),
        ):
            names = [terms.nodes[i] for i in some]
            found = {known[1].get(node.name) or known[0].get(node.name) or node.provider for node in names} - {None}
            if found:
                return tuple(sorted(name for name in found if name))
        return ()


class _Side:
    """One graph's nodes as keys that do not depend on names or on the number of a layer."""

    def __init__(self, terms: Terms, labels: Labels) -> None:
        self.terms = terms
        self.labels = labels

    @cached_property
    def _paths(self) -> list[tuple[tuple[str, str], ...]]:
        pairs = [[part.rpartition(": ") for part in path] for path in self.terms.table.layers]
        return [tuple((fqn, cls) for fqn, _, cls in path) for path in pairs]

    def path(self, index: int) -> tuple[tuple[str, str], ...]:
        """(fqn, class) of the layers around a node, outermost first; empty when unknown."""
        layer = self.terms.nodes[index].layer
        return () if layer is None else self._paths[layer]

    def type(self, id_: int) -> str:
        """dtype and shape of a node's value."""
        node = self.terms.nodes[self.terms.index[id_]]
        facts = msgspec.to_builtins(node)
        if node.outputs:
            return "(" + ", ".join(type_text(each, node.device or "") for each in facts["outputs"]) + ")"
        return type_text(facts, node.device or "")

    def key(self, indices: Sequence[int], base: int | None) -> Hashable:
        """What a group of nodes does, whatever their order: each with what it is computed from inside the group."""
        inside: dict[int, int] = {}
        for index in indices:
            inside[index] = self.labels.of(self._node(index, base, inside))
        return tuple(sorted(inside.values()))

    def _node(self, index: int, base: int | None, inside: Mapping[int, int]) -> Hashable:
        node = self.terms.nodes[index]
        args = _relative(self.terms.constants[index], base)
        refs = tuple([inside[ref] if ref in inside else self._outside(ref) for ref in self.terms.refs[index]])
        layer = pattern(self.path(index)[-1][0], base) if self.path(index) else None
        return (
            node.op,
            node.target if node.op.startswith("call_") else "",
            args,
            refs,
            layer,
            node.dtype,
            _sizes(node),
        )

    def _outside(self, index: int) -> Hashable:
        node = self.terms.nodes[index]
        path = (node.input or "") if node.op == "placeholder" else ""
        is_weight = path.partition(".")[0] in self._roots and "." in path
        # Whose weight it is does not count: a weight that all layers share is the first layer's own.
        return ("outside", pattern(path) if is_weight else "", node.dtype if node.shape is not None else None)

    @cached_property
    def _roots(self) -> set[str]:
        """What the model path of a weight begins with."""
        return {"self", *(fqn.partition(".")[0] for path in self._paths for fqn, _ in path)} - {""}


def _sizes(node: Node) -> Hashable:
    return None if node.shape is None else tuple(node.shape)


def _relative(value: Hashable, base: int | None) -> Hashable:
    """Constants with the number of the layer, where a name has it, told relative to the layer."""
    if isinstance(value, str):
        return pattern(value, base) if "." in value else value
    if isinstance(value, tuple) and value is not HOLE and value[:1] not in [(tag,) for tag in _VALUES]:
        return tuple([_relative(each, base) for each in value])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def pattern(text: str | None, base: int | None = None) -> str | None:
    """A layer's name without its first number, or with that number relative to `base`."""
    if text is None:
        return None
    return _NUMBER.sub(lambda found: "#" if base is None else f"#{int(found[0]) - base:+d}", text, count=1)


def block_number(layer: str | None) -> int | None:
    """The number of a layer's block: 3 for `layers.3.mlp`; None when it has none."""
    found = _NUMBER.search(layer or "")
    return int(found[0]) if found else None


def common_layer(paths: Sequence[Sequence[tuple[str, str]]]) -> tuple[str | None, str]:
    """The innermost layer that is around all of these, and its class; (None, "") when there are none."""
    common: list[tuple[str, str]] = []
    for parts in zip(*paths, strict=False):
        if any(part != parts[0] for part in parts):
            break
        common.append(parts[0])
    if not paths:
        return None, ""
    return common[-1] if common else ("", "")
