"""Which values, inputs and results of two graphs should be the same: by the recorded origins, or by structure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from cutaway.dump.diff import Diff, chain, diff
from cutaway.dump.diff.course import stems
from cutaway.dump.schema import Node, NodeTable, Size
from cutaway.errors import ReplayError
from cutaway.replay.groups import groups
from cutaway.replay.job import End, Given
from cutaway.replay.locate import descendants
from cutaway.replay.subject import Subject, inputs_of


@dataclass(frozen=True)
class Pairs:
    """What of a reference is what of another graph.

    Attributes:
        values: (node of the reference, node of the other) whose values should be the same.
        given: where the other's inputs come from.
        begin, until: the first and the last node of the reference that the other graph is about, where that is a part.
        outputs: results that should be the same.
        sizes: what sizes of the reference are in the other.
        notes: what could not be paired, in words.
    """

    values: list[tuple[str, str]]
    given: list[Given]
    outputs: list[tuple[End, End]]
    begin: str | None = None
    until: str | None = None
    sizes: list[tuple[Size, Size]] = field(default_factory=list[tuple[Size, Size]])
    notes: list[str] = field(default_factory=list[str])


def pair(reference: Subject, other: Subject) -> Pairs:
    """Pair two graphs.

    Raises:
        ReplayError: an input of the other graph has no counterpart.
        DumpError: a node table cannot be read.
    """
    if reference.snapshot is None or other.snapshot is None:
        return _by_name(reference, other)
    if reference.snapshot.piece is not None and other.snapshot.piece is None:
        raise ReplayError(
            f"{other.name} cannot be compared with {reference.name}",
            "the second is only a piece of the first",
            f"exchange them: replay {reference.name} against {other.name}",
        )
    return _Paired(reference, other, diff(reference.snapshot, other.snapshot)).pairs()


class _Paired:
    """Two snapshots, and the difference between them."""

    def __init__(self, reference: Subject, other: Subject, found: Diff) -> None:
        self.reference = reference
        self.other = other
        (self.part,) = found.parts
        self.found = found
        self.one, self.two = self.part.tables  # the reference may be a part of its graph
        self.ids_of_two = {node.id: node for node in self.two.nodes}
        whole = reference.table
        assert whole is not None, "a snapshot has a table"
        self.whole = whole
        self.whole_ids = {node.id: node for node in whole.nodes}
        steps = chain(self.part.before, self.part.after)
        self.stems = stems(steps) if steps is not None else None
        self.places = {node.name: place for place, node in enumerate(inputs_of(whole))}

    def pairs(self) -> Pairs:
        given, lacking = self._given()
        unknown = descendants(self.other.raw, lacking, {})
        is_cut = len(self.one.nodes) != len(self.whole.nodes)
        outputs, notes = self._outputs(is_cut, unknown)
        if lacking and not outputs:
            raise ReplayError(
                f"{self.other.name} cannot be compared with {self.reference.name}",
                f"nothing there is its input {lacking[0]}" + (f", nor {len(lacking) - 1} more" if lacking[1:] else ""),
                "compare it with another stage of the same piece",
            )
        if lacking:
            notes.append(f"made with the seed: {', '.join(lacking)} (nothing in the other graph is that)")
        begin, until = self._inside() if is_cut else (None, None)
        return Pairs(
            values=self._values(unknown),
            given=given,
            outputs=outputs,
            begin=begin,
            until=until,
            sizes=[*self.part.matching.sizes, *self._sizes(given)],
            notes=notes,
        )

    def _values(self, unknown: Collection[str]) -> list[tuple[str, str]]:
        """Nodes that are the same one, and what became of those that are not, where the same nodes read them.

        Args:
            unknown: nodes of the other graph of which nothing can be said.
        """
        ids = list(self.part.matching.pairs)
        for rewrite in self.found.rewrites:
            ids += [(old, new) for place in rewrite.places for _, old, new in place.uses]
        if self.stems is not None:
            ids += groups(self.whole, self.two, self.stems, unknown)
        names: dict[tuple[str, str], None] = {}
        for left, right in ids:
            one, two = self.whole_ids.get(left), self.ids_of_two.get(right)
            if one is not None and two is not None:
                names[one.name, two.name] = None
        known = self.reference.raw.lines, self.other.raw.lines
        kept = [(left, right) for left, right in names if left in known[0] and right in known[1]]
        return [(left, right) for left, right in kept if right not in unknown]

    def _given(self) -> tuple[list[Given], list[str]]:
        """Where the other graph's inputs come from, and the names of those that come from nowhere and are read."""
        before = self.part.matching.before
        origins = self._origins()
        given: list[Given] = []
        lacking: list[str] = []
        read = {name for line in self.other.raw.lines.values() for name in line.reads} | set(self.other.raw.results)
        for index, node in enumerate(inputs_of(self.two)):
            source = self.whole_ids.get(before.get(node.id, -1)) or origins.get(node.id) or self._saved(node)
            if source is not None and source.name in self.places:
                given.append(Given(index, input=self.places[source.name]))
            elif source is not None and source.name in self.reference.raw.lines:
                given.append(Given(index, value=source.name))
            elif node.value is None and node.name in read:
                lacking.append(node.name)
        return given, lacking

    def _sizes(self, given: list[Given]) -> Iterator[tuple[Size, Size]]:
        """What sizes of the reference are in the other graph, by the inputs that come from it."""
        known = {node.name: node for node in self.whole.nodes}
        ours, theirs = inputs_of(self.whole), inputs_of(self.two)
        for one in given:
            source = ours[one.input] if one.input is not None else known.get(one.value or "")
            node = theirs[one.index]
            if source is None:
                continue
            if source.value is not None and node.value is not None:
                yield source.value, node.value
            yield from zip(source.shape or (), node.shape or (), strict=False)

    def _saved(self, node: Node) -> Node | None:
        """A value that the forward pass saves for the backward: AOTAutograd gives the input the name of the node."""
        if self.part.after.phase != "backward":
            return None
        same = (each for each in self.whole.nodes if each.name == node.name)
        return next((each for each in same if (each.dtype, each.shape) == (node.dtype, node.shape)), None)

    def _origins(self) -> dict[int, Node]:
        """For each input of the other graph, the one node of the reference that it stems from."""
        if self.stems is None:
            return {}
        pairs = zip(self.two.nodes, self.stems, strict=True)
        return {node.id: self.whole.nodes[min(some)] for node, some in pairs if len(some) == 1}

    def _inside(self) -> tuple[str | None, str | None]:
        """The first and the last node of the reference that the other graph is about."""
        inside = {node.id for node in self.one.nodes if node.op.startswith("call_")}
        names = [node.name for node in self.whole.nodes if node.id in inside]
        return (names[0], names[-1]) if names else (None, None)

    def _outputs(self, is_cut: bool, unknown: Collection[str]) -> tuple[list[tuple[End, End]], list[str]]:
        """Results by their place; where there are other numbers of them, those that are the same value.

        Those that depend on an input which only one of the graphs has are left out.
        """
        ours, theirs = self.reference.raw.results, self.other.raw.results
        if is_cut:
            ours = _results(self.one)
            ends = [None if name is None else self._end(name) for name in ours]
        else:
            ends = [End(output=place) for place in range(len(ours))]
        if len(ends) == len(theirs):
            known = [(place, end) for place, end in enumerate(ends) if theirs[place] not in unknown]
            pairs = [(end, End(output=place)) for place, end in known if end is not None]
            return pairs, _left_out(len(theirs) - len(pairs), len(theirs))
        by_name = {right: left for left, right in reversed(self._values(unknown))}
        places = {name: place for place, name in reversed(list(enumerate(ours))) if name is not None}
        found: list[tuple[End, End]] = []
        for place, name in enumerate(theirs):
            if name in unknown:
                continue
            left = by_name.get(name or "")
            if left is not None:
                end = ends[places[left]] if left in places else End(value=left)
                found += [(end, End(output=place))] if end is not None else []
            elif place < len(ends) < len(theirs) and ends[place] is not None:  # what it returns for autograd comes last
                found.append((ends[place] or End(), End(output=place)))
        return found, _left_out(len(theirs) - len(found), len(theirs))

    def _end(self, name: str) -> End | None:
        if name in self.reference.raw.lines:
            return End(value=name)
        return None


def _results(table: NodeTable) -> tuple[str | None, ...]:
    """What a graph returns, flattened; None for what is no node."""
    names = {node.id: node.name for node in table.nodes}
    end = next((node for node in table.nodes if node.op == "output"), None)
    found: list[str | None] = []

    def add(value: object) -> None:
        if isinstance(value, list):
            for each in value:  # pyright: ignore[reportUnknownVariableType]
                add(each)
        elif isinstance(value, dict) and ("tuple" in value or "dict" in value):
            add(value.get("tuple") or [each[1] for each in value.get("dict", [])])
        else:
            found.append(names.get(value["node"]) if isinstance(value, dict) and "node" in value else None)

    for value in end.args if end is not None else ():
        add(value)
    return tuple(found)


def _left_out(count: int, of: int) -> list[str]:
    if not count:
        return []
    return [f"{count} of {of} results have no counterpart and are not compared"]


def _by_name(reference: Subject, other: Subject) -> Pairs:
    """Two files of which one lies in no dump: a copy that somebody has edited bears the same names."""
    one, two = reference.raw, other.raw
    if len(one.inputs) != len(two.inputs):
        raise ReplayError(
            f"{other.name} cannot be compared with {reference.name}",
            f"one takes {len(two.inputs)} inputs, the other {len(one.inputs)}, and a file by itself does not say "
            "which is which",
            "give the dump and selectors, or copies of one raw file",
        )
    values = [(name, name) for name in _common(one.lines, two.lines)]
    outputs = [(End(output=place), End(output=place)) for place in range(min(len(one.results), len(two.results)))]
    notes = _left_out(abs(len(one.results) - len(two.results)), max(len(one.results), len(two.results)))
    return Pairs(values, [Given(place, input=place) for place in range(len(one.inputs))], outputs, notes=notes)


def _common(one: Iterable[str], other: Iterable[str]) -> list[str]:
    known = set(one)
    return [name for name in other if name in known]
