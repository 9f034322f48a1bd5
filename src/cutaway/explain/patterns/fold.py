"""What was found of a pattern, with identical layers and ranges shown once, nearest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cutaway.dump.query.labels import label, pattern
from cutaway.dump.query.view import View
from cutaway.explain.patterns.graphs import Seen
from cutaway.explain.patterns.job import Answer, Attempt, Reason

_COMMON = ("aten.", "prims.", "operator.")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


@dataclass(frozen=True)
class Place:
    """Where a pattern was held against a graph.

    Attributes:
        selector: `SELECTOR:NODE`.
        node: its name.
        layer, cls: fqn and class of the node's innermost layer; empty when unknown.
        source: `file:line` of the model's line, and the line; empty when unknown.
        piece, range: of the graph; None for a whole graph.
    """

    selector: str
    node: str
    layer: str
    cls: str
    source: str
    code: str
    piece: str | None
    range: str | None


@dataclass
class Finding:
    """The same outcome in several places.

    Attributes:
        patterns: the patterns of which it is said; more than one when they differ only in what is not there.
        matched: whether they fit.
        got, of: calls of the pattern that fit, of how many.
        op: operator of the node.
        reasons: why not, at the first place; the one at which torch stops first.
        places: all of them.
        farther: how many other patterns were tried at the first place and got no farther.
    """

    patterns: list[str]
    matched: bool
    got: int
    of: int
    op: str
    reasons: list[Reason]
    places: list[Place] = field(default_factory=list)
    farther: int = 0

    @property
    def where(self) -> str:
        """The layers of the places, as one name."""
        return label(dict.fromkeys(place.layer for place in self.places if place.layer))

    @property
    def count(self) -> int:
        """In how many nodes it is so, in the compile range that has most of them."""
        ranges: dict[str | None, set[tuple[str | None, str, str]]] = {}
        for place in self.places:
            ranges.setdefault(place.range, set()).add((place.piece, place.layer, place.node))
        return max(map(len, ranges.values()), default=0)

    @property
    def ranges(self) -> list[str]:
        """The compile ranges that have it."""
        return list(dict.fromkeys(place.range for place in self.places if place.range is not None))


def fold(answer: Answer, seen: Sequence[Seen]) -> list[Finding]:
    """All that was found, matches first, then near misses by how much of the pattern fits."""
    found: dict[object, Finding] = {}
    for group in _by_node(answer.attempts):
        best, names, farther = _best(group, answer)
        graph = seen[best.graph]
        nodes = {node.name: node for node in graph.snapshot.dump.table(graph.snapshot.owner)[0].nodes}
        node = nodes.get(best.node)
        op = node.target if node is not None else ""
        for view in graph.views:
            place = _place(view, best.node)
            reasons = tuple(_sense(reason, nodes) for reason in best.reasons)
            key = (tuple(names), best.matched, best.got, best.of, op, reasons, pattern(place.layer), place.cls)
            known = found.setdefault(
                key, Finding(names, best.matched, best.got, best.of, op, best.reasons, farther=farther)
            )
            known.places.append(place)
    return sorted(found.values(), key=_rank)


def _rank(finding: Finding) -> tuple[object, ...]:
    """Matches first, then what got farthest; of equals those with the fewest faults, and operators that are rare."""
    share = finding.got / max(finding.of, 1)
    return not finding.matched, -share, len(finding.reasons), finding.op.startswith(_COMMON), -finding.got


def _sense(reason: Reason, nodes: Mapping[str, object]) -> tuple[str, ...]:
    """What a reason says, whatever the nodes are called."""
    if reason.wanted or reason.found:
        return reason.kind, reason.wanted, "·" if reason.found in nodes else reason.found, reason.part
    return reason.kind, _NAME.sub(lambda found: "·" if found[0] in nodes else found[0], reason.text)


def _by_node(attempts: Sequence[Attempt]) -> Iterator[list[Attempt]]:
    """Attempts at one node together; without those on nodes that another match has taken."""
    taken = {(each.graph, name) for each in attempts if each.matched for name in each.nodes}
    groups: dict[tuple[int, str], list[Attempt]] = {}
    for each in attempts:
        if each.matched or (each.graph, each.node) not in taken:
            groups.setdefault((each.graph, each.node), []).append(each)
    yield from groups.values()


def _best(group: Sequence[Attempt], answer: Answer) -> tuple[Attempt, list[str], int]:
    """The attempt that got farthest, the patterns that it speaks for, and how many others there are."""
    matched = [each for each in group if each.matched]
    if matched:  # the first that is registered is the one that is put to use
        return matched[0], [answer.patterns[matched[0].pattern].name], 0
    first = min(group, key=lambda each: (-each.got / max(each.of, 1), len(each.reasons)))
    alike = [each for each in group if _course(each) == _course(first)]
    reasons = [
        _with_wanted(reason, [each.reasons[index].wanted for each in alike])
        for index, reason in enumerate(first.reasons)
    ]
    names = [answer.patterns[each.pattern].name for each in alike]
    best = Attempt(first.pattern, first.graph, first.node, False, first.got, first.of, first.nodes, reasons)
    return best, list(dict.fromkeys(names)), len(group) - len(alike)


def _course(attempt: Attempt) -> tuple[object, ...]:
    reasons = tuple((reason.kind, reason.node, reason.found, reason.part) for reason in attempt.reasons)
    return attempt.got, attempt.of, reasons


def _with_wanted(reason: Reason, wanted: Sequence[str]) -> Reason:
    """A reason with what each of several patterns wants in its place."""
    each = list(dict.fromkeys(wanted))
    if len(each) < 2 or not reason.wanted or not reason.text.endswith(reason.wanted):
        return reason
    text = reason.text.removesuffix(reason.wanted) + " or ".join(each)
    return Reason(reason.kind, text, reason.node, " or ".join(each), reason.found, reason.part, reason.place)


def _place(view: View, name: str) -> Place:
    table = view.table
    node = next((node for node in table.nodes if node.name == name), None)
    path = view.path(node, table) if node is not None else ()
    fqn, _, cls = path[-1].rpartition(": ") if path else ("", "", "")
    source = table.source(node) if node is not None else None
    where = f"{source.file}:{source.line}" if source else ""
    selector = f"{view.snapshot.selector}:{name}"
    return Place(selector, name, fqn, cls, where, source.code if source else "", view.piece, view.snapshot.range)
