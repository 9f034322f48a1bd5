"""Chains of memory-bound operators that stayed apart in the last graph, and the bytes that fusing them would save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cutaway.dump.query.labels import label, pattern
from cutaway.dump.query.view import View, views
from cutaway.dump.reader import Dump
from cutaway.dump.snapshot import Code, Snapshot
from cutaway.explain.patterns.traffic import Traffic, called, is_memory_bound, is_view

Kernels = frozenset[str]


@dataclass(frozen=True)
class Handed:
    """A value that one kernel writes and another reads.

    Attributes:
        node, reader: names of the node and of one that reads it.
        ops: their operators.
        bytes: of the value, once.
        read, written: how many reads and writes of it a fusion would save.
    """

    node: str
    reader: str
    ops: tuple[str, str]
    bytes: int
    read: int
    written: int


@dataclass
class Chain:
    """Kernels that could be one, wherever they are.

    Attributes:
        kernels: calls of kernels, in order.
        ops: the memory-bound operators in them, those of each kernel together.
        handed: what they hand to each other through memory.
        saved: bytes that one kernel in their place would not move, for the sizes in `sizes`.
        sizes: of the symbols, which `saved` is for.
        places: layers where it is so, and the piece and range of each, as (layer, piece, range).
        example: `SELECTOR:NODE` of the first value.
    """

    kernels: list[str]
    ops: list[tuple[str, ...]]
    handed: list[Handed]
    saved: int
    sizes: dict[str, int]
    example: str
    places: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """Its layers as one name."""
        return label(dict.fromkeys(layer for layer, _, _ in self.places if layer))

    @property
    def ranges(self) -> list[str]:
        """The compile ranges that have it."""
        return list(dict.fromkeys(each for _, _, each in self.places if each is not None))

    @property
    def count(self) -> int:
        """How often it is there, in the range that has most of it."""
        counts: dict[str | None, int] = {}
        for _, _, each in self.places:
            counts[each] = counts.get(each, 0) + 1
        return max(counts.values(), default=0)


@dataclass(frozen=True)
class Unfused:
    """What stayed apart.

    Attributes:
        chains: those that could be one kernel, the most expensive first.
        blocked: how many values pass between memory-bound kernels that something else stands between, such as a
            product of matrices: to fuse these would close a circle.
        graphs: the last graphs that were looked at.
        unknown: last graphs of which no kernels were recorded.
    """

    chains: list[Chain]
    blocked: int
    graphs: list[str]
    unknown: list[str]


def find_unfused(dump: Dump, selector: str | None = None, batch: int | None = None) -> Unfused:
    """Look for memory-bound operators that hand values to each other through memory, and need not.

    Args:
        dump: the dump; only read.
        selector: part of the selector of last graphs; None for all.
        batch: the number that stands for symbols; None for what each was captured with.

    Raises:
        DumpError: a graph cannot be read.
    """
    chains: dict[object, Chain] = {}
    blocked, graphs, unknown = 0, [], []
    for snapshot, codes, seen in _last_graphs(dump, selector):
        if not codes:
            unknown.append(snapshot.selector)
            continue
        graphs.append(snapshot.selector)
        kernels = {name: names for code in codes for name, names in code.kernels.items()}
        sizes = {
            name: batch if batch is not None else facts.hint or 1 for name, facts in snapshot.table.symbols.items()
        }
        traffic = Traffic(snapshot.dump.table(snapshot.owner)[0], kernels)
        found, stopped = _chains(traffic, sizes)
        blocked += stopped
        for members, handed in found:
            _note(chains, snapshot, seen, traffic, members, handed, sizes)
    ordered = sorted(chains.values(), key=lambda each: -each.saved * each.count)
    return Unfused(ordered, blocked, graphs, unknown)


def _last_graphs(dump: Dump, selector: str | None) -> Iterator[tuple[Snapshot, list[Code], list[View]]]:
    """The last graph of each piece, range and phase, with its code and everything that it stands for."""
    seen: dict[str, list[View]] = {}
    for view in views(dump):
        if view.snapshot.stage == "post_grad" and (selector is None or selector in view.snapshot.selector):
            seen.setdefault(view.snapshot.selector, []).append(view)
    for name, its_views in seen.items():
        snapshot = dump.snapshots[name]
        place = (snapshot.compilation, snapshot.piece, snapshot.range, snapshot.phase)
        owner = snapshot.owner
        origin = (owner.compilation, owner.piece, owner.range, owner.phase)
        codes = [
            code
            for code in dump.codes.values()
            if code.kind == "output_code" and (code.compilation, code.piece, code.range, code.phase) in (place, origin)
        ]
        own = [
            code for code in codes if (code.compilation, code.piece, code.range, code.phase) == origin and code.kernels
        ]
        yield snapshot, own or [code for code in codes if code.kernels], its_views


def _chains(traffic: Traffic, sizes: Mapping[str, int]) -> tuple[list[tuple[Kernels, list[Handed]]], int]:
    """Groups of kernels that could be one: merged greedily, the largest value first, as long as no circle is closed."""
    edges = _edges(traffic)
    after: dict[str, set[str]] = {}
    for source, reader in edges:
        for one in traffic.inside[source][:1]:
            for other in traffic.inside[reader]:
                after.setdefault(one, set()).add(other)
    light = {call for call in _calls(traffic) if _is_light(traffic, call)}
    pairs = [
        (source, reader)
        for source, reader in edges
        if traffic.inside[source][0] in light and traffic.inside[reader][0] in light
    ]
    pairs.sort(key=lambda pair: -(traffic.bytes(pair[0], sizes) or 0))
    group: dict[str, Kernels] = {call: frozenset([call]) for call in light}
    blocked = 0
    for source, reader in pairs:
        one, other = group[traffic.inside[source][0]], group[traffic.inside[reader][0]]
        if one is other:
            continue
        merged = one | other
        if _closes_a_circle(merged, after):
            blocked += 1
            continue
        group.update(dict.fromkeys(merged, merged))
    found = [(members, _handed(traffic, members, pairs, sizes)) for members in set(group.values()) if len(members) > 1]
    return [(members, handed) for members, handed in found if handed], blocked


def _edges(traffic: Traffic) -> list[tuple[str, str]]:
    return [(source, reader) for source, reader in traffic.crossings() if traffic.nodes[source].op == "call_function"]


def _calls(traffic: Traffic) -> Iterable[str]:
    return dict.fromkeys(call for calls in traffic.inside.values() for call in calls)


def _is_light(traffic: Traffic, call: str) -> bool:
    """Whether all that a kernel computes is memory-bound, but for what it repeats of another."""
    own = [traffic.nodes[name] for name, calls in traffic.inside.items() if calls and calls[0] == call]
    return bool(own) and all(is_memory_bound(node) for node in own if not is_view(node))


def _closes_a_circle(members: Kernels, after: Mapping[str, set[str]]) -> bool:
    """Whether something that is no member runs after one of them and before another."""
    waiting = [call for member in members for call in after.get(member, ()) if call not in members]
    seen: set[str] = set()
    while waiting:
        call = waiting.pop()
        if call in members:
            return True
        if call not in seen:
            seen.add(call)
            waiting += after.get(call, ())
    return False


def _handed(
    traffic: Traffic, members: Kernels, pairs: Sequence[tuple[str, str]], sizes: Mapping[str, int]
) -> list[Handed]:
    readers: dict[str, dict[str, str]] = {}
    for source, reader in pairs:
        if traffic.inside[source][0] in members and traffic.inside[reader][0] in members:
            readers.setdefault(source, {}).setdefault(traffic.inside[reader][0], reader)
    found: list[Handed] = []
    for source, by_kernel in readers.items():
        size = traffic.bytes(source, sizes)
        if size is None:
            continue
        reader = next(iter(by_kernel.values()))
        written = 0 if traffic.outside_readers(source, members) else 1
        ops = called(traffic.nodes[source]), called(traffic.nodes[reader])
        found.append(Handed(source, reader, ops, size, len(by_kernel), written))
    return found


def _note(
    chains: dict[object, Chain],
    snapshot: Snapshot,
    seen: Sequence[View],
    traffic: Traffic,
    members: Kernels,
    handed: Sequence[Handed],
    sizes: dict[str, int],
) -> None:
    order = list(_calls(traffic))
    calls = sorted(members, key=order.index)
    ops = [
        tuple(called(traffic.nodes[name]) for name, inside in traffic.inside.items() if inside[:1] == (call,) and
              is_memory_bound(traffic.nodes[name]))
        for call in calls
    ]  # fmt: skip
    saved = sum(each.bytes * (each.read + each.written) for each in handed)
    for view in seen:
        node = traffic.nodes[handed[0].node]
        path = view.path(node, traffic.table)
        layer = path[-1].rpartition(": ")[0] if path else ""
        key = (tuple(ops), tuple((each.ops, each.read, each.written) for each in handed), pattern(layer))
        example = f"{snapshot.selector}:{handed[0].node}"
        known = chains.setdefault(key, Chain(calls, ops, list(handed), saved, sizes, example))
        if saved > known.saved:
            known.saved, known.sizes = saved, sizes
        known.places.append((layer, view.piece, view.snapshot.range))
