"""Which pass did what, where there are several between two graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cutaway.dump.diff.changes import Comparison
from cutaway.dump.diff.course import step_stems
from cutaway.dump.diff.match import pair_by_origin
from cutaway.dump.diff.pairing import Pairing
from cutaway.dump.diff.result import Place
from cutaway.dump.snapshot import Snapshot


@dataclass
class Doings:
    """What each pass between two graphs did, by the ids of the nodes.

    Attributes:
        passes: their names, in order.
        gone: node before -> the pass after which it was no longer there.
        new: node after -> the pass that made it.
        changed: node before -> the passes that changed it and left it there.
    """

    passes: list[str] = field(default_factory=list[str])
    gone: dict[int, str] = field(default_factory=dict[int, str])
    new: dict[int, str] = field(default_factory=dict[int, str])
    changed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    def of(self, place: Place) -> tuple[str, ...]:
        """The passes that made a rewrite what it is, in order."""
        if place.changes:
            names = {name for id_ in place.before for name in self.changed.get(id_, ())}
        else:
            names = {self.gone[id_] for id_ in place.before if id_ in self.gone}
            names |= {self.new[id_] for id_ in place.after if id_ in self.new}
        return tuple(name for name in self.passes if name in names)

    def inverse(self) -> Doings:
        """The same seen from the later graph: what was made is gone there. What was changed is left out."""
        return Doings(self.passes, self.new, self.gone)


def doings(steps: Sequence[Snapshot], known: Pairing | None = None) -> Doings:
    """What each of the passes did.

    Args:
        steps: the snapshots from one graph to the other, as `chain` gives them.
        known: which node of the first is which of the last, when that was found out; it helps when these are all.
    """
    found = Doings()
    first = steps[0].table
    alive = {place: node.id for place, node in enumerate(first.nodes)}
    made: dict[int, str] = {}
    for before, after in pairwise(steps):
        stems = None if before.graph == after.graph else step_stems(before, after)
        if stems is None:
            continue
        name = after.selector.rpartition("/")[2]
        found.passes.append(name)
        only = known if len(steps) == 2 else None
        pairing = only or pair_by_origin(before.table, after.table, stems)
        for place in Comparison(pairing).changes:
            if place in alive:
                found.changed.setdefault(alive[place], []).append(name)
        found.gone.update({id_: name for place, id_ in alive.items() if place not in pairing.of_before})
        alive = {pairing.of_before[place]: id_ for place, id_ in alive.items() if place in pairing.of_before}
        kept = {pairing.of_before[place]: maker for place, maker in made.items() if place in pairing.of_before}
        made = kept | dict.fromkeys(pairing.right(), name)
    last = steps[-1].table
    found.new = {last.nodes[place].id: name for place, name in made.items()}
    return found
