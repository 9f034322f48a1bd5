"""Which node of a graph is which of another that is not known to come from it: structural matching.

Names are never looked at. In this order:

1. inputs are paired by the model path of the weight (or by their place), and what symbols of one graph are in the
   other is read off their sizes;
2. equal computations: nodes with the same hash from the bottom up, told apart from the outputs down, so that graphs
   which are equal up to names and harmless order match completely;
3. anchors: nodes that are the only ones of their kind on both sides, by what is made of them, by what stands around
   them (Weisfeiler-Leman refinement, two rounds, then one), by layer and line of Python;
4. from everything that is matched along the edges, to neighbours that apply the same operator;
5. nodes that apply the same operator with other constants, in the same place or between the same neighbours;
6. exchanges among nodes that do the same, where these make the difference smaller.

The idea is that of GumTree (Falleri et al., Fine-grained and accurate source code differencing, 2014), for graphs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cutaway.dump.diff.course import Stems
from cutaway.dump.diff.leaves import pair_inputs, sizes_of
from cutaway.dump.diff.matching import Matching
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.repair import repair
from cutaway.dump.diff.sizes import infer
from cutaway.dump.diff.steps import find_pairs
from cutaway.dump.diff.terms import Labels, Terms
from cutaway.dump.schema import NodeTable


def match_nodes(before: NodeTable, after: NodeTable) -> Matching:
    """Find which node of one graph is which of another, by structure.

    Args:
        before, after: any two graphs, also of different compilations, ranges, ranks or versions.

    Returns:
        The pairs, and the nodes that have no counterpart. The same for the graphs the other way round, inverted.
    """
    return pair_by_structure(before, after).result()


def pair_by_structure(before: NodeTable, after: NodeTable) -> Pairing:
    """As `match_nodes`, with what the comparison of the nodes needs."""
    if _key(before) > _key(after):
        return pair_by_structure(after, before).inverse()
    found = [_paired(before, after, leaves) for leaves in pair_inputs(before, after)]
    return max(found, key=lambda pairing: pairing.equal)


def pair_by_origin(before: NodeTable, after: NodeTable, stems: Stems) -> Pairing:
    """Find which node of a graph is which of an earlier one that it comes from.

    A node is the one that it stems from when it stems from that one alone and applies the same operator. What is
    not recorded is found by structure.

    Args:
        before, after: the graphs.
        stems: for each node of the graph after, places of nodes of the graph before.
    """
    leaves = [
        (before.nodes[min(some)].id, node.id)
        for node, some in zip(after.nodes, stems, strict=True)
        if len(some) == 1 and node.op == "placeholder" == before.nodes[min(some)].op
    ]
    pairing = _terms(before, after, leaves)
    old, new = pairing.before, pairing.after
    children: dict[int, list[int]] = {}
    for place, some in enumerate(stems):
        pairing.kin += [(origin, place) for origin in sorted(some)]
        both = {old.nodes[min(some)].op, new.nodes[place].op} if len(some) == 1 else set[str]()
        if both == {"placeholder"} or (both and old.kind[min(some)] == new.kind[place]):
            children.setdefault(min(some), []).append(place)
    for origin, places in children.items():
        name, label = old.nodes[origin].name, old.label[origin]
        same = min(places, key=lambda place: (new.nodes[place].name != name, new.label[place] != label, place))
        pairing.pair(origin, same)
    replaced = [(origin, place) for origin, place in pairing.kin if origin not in pairing.of_before]
    pairing.apart = {origin for origin, _ in replaced}, {place for _, place in replaced}
    if all(pairing.free()):
        find_pairs(pairing)
        repair(pairing)
    return pairing


def _key(table: NodeTable) -> tuple[int, bytes]:
    """Tells two graphs apart whichever comes first, so that a matching does not depend on that."""
    return len(table.nodes), msgspec.json.encode(table)


def _terms(before: NodeTable, after: NodeTable, leaves: Sequence[tuple[int, int]]) -> Pairing:
    here, there = infer(sizes_of(before, after, leaves), before.symbols, after.symbols)
    labels = Labels()
    return Pairing(Terms(before, labels, here), Terms(after, labels, there), here, there)


def _paired(before: NodeTable, after: NodeTable, leaves: Sequence[tuple[int, int]]) -> Pairing:
    pairing = _terms(before, after, leaves)
    for left, right in leaves:
        pairing.pair(pairing.before.index[left], pairing.after.index[right])
    find_pairs(pairing)
    repair(pairing)
    return pairing
