"""Better pairs: where nodes do the same, the first pairs that were found need not be those that differ least.

In `relu(relu(x))` of which one call was deleted, either may be the one that is left. Which it is shows in who reads
it: a pairing is improved step by step until no exchange makes fewer nodes read something else than before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cutaway.dump.diff.pairing import Pairing

_STEPS = 4
"""So many exchanges for each node that could be exchanged: a bound, that hardly anything comes near."""
_DEPTH = 12
"""So many exchanges in a row are tried that make nothing worse, for one that makes something better."""
_MANY = 8
"""So many users of a node are looked at."""
_CHANGED = 1000
"""What it costs when a node has other constants, or reads another node that was there before."""
_OTHER = 2
"""What each of the nodes costs that it reads instead."""
_REPLACED = 1
"""What it costs when it reads what is new, in place of what is gone."""


def repair(pairing: Pairing) -> None:
    """Exchange nodes that do the same, as long as that makes the difference smaller."""
    for each in (_Repair(pairing), _Repair(pairing.inverse())):
        each.shift()
    _Repair(pairing).cross()


class _Repair:
    """One direction of a pairing; a pairing and its inverse share their pairs."""

    def __init__(self, pairing: Pairing) -> None:
        self.old, self.new = pairing.before, pairing.after
        self.of_old, self.of_new = pairing.of_before, pairing.of_after
        self.gone = [index for index in pairing.left() if index not in pairing.apart[0]]
        self.left = _STEPS * len(self.old)

    def shift(self) -> None:
        """Nodes that are gone take the place of a neighbour that does the same, which is gone then."""
        waiting = self.gone[::-1]
        while waiting and self.left > 0:
            gone = self._shifted(waiting.pop(), set(), _DEPTH)
            if gone is not None:
                waiting.append(gone)

    def _shifted(self, gone: int, seen: set[int], depth: int) -> int | None:
        """The node that is gone instead, after exchanges that together make the difference smaller; None for none."""
        seen.add(gone)
        for other in self._alike(gone):
            if other in seen or self.left <= 0:
                continue
            self.left -= 1
            users = self._users(gone, other)
            before = self._cost(users)
            counterpart = self.of_old.pop(other)
            self._pair(gone, counterpart)
            change = self._cost(users) - before
            if change < 0:
                return other
            found = self._shifted(other, seen, depth - 1) if change == 0 and depth else None
            if found is not None:
                return found
            del self.of_old[gone]
            self._pair(other, counterpart)
        return None

    def cross(self) -> None:
        """Where a node reads another one that does the same as what it read: exchange the counterparts of the two."""
        for user in sorted(self.of_old):
            for one, counterpart in list(self._crossed(user)):
                self.left -= 1
                if self.left < 0:
                    return
                self._exchange(one, counterpart)

    def _exchange(self, one: int, counterpart: int) -> None:
        instead, other = self.of_old[one], self.of_new[counterpart]
        if self.old.kind[other] != self.new.kind[instead] or self.old.kind[one] != self.new.kind[counterpart]:
            return
        users = self._users(one, other)
        before = self._cost(users)
        self._pair(one, counterpart)
        self._pair(other, instead)
        if self._cost(users) >= before:
            self._pair(one, instead)
            self._pair(other, counterpart)

    def _crossed(self, user: int) -> Iterator[tuple[int, int]]:
        """What a node read and what it reads, where these are not each other's counterparts."""
        refs, others = self.old.refs[user], self.new.refs[self.of_old[user]]
        if len(refs) != len(others):
            return
        for ref, other in zip(refs, others, strict=True):
            found = self.of_old.get(ref)
            if found not in (None, other) and other in self.of_new and not self.old.is_leaf(ref):
                yield ref, other

    def _pair(self, left: int, right: int) -> None:
        self.of_old[left] = right
        self.of_new[right] = left

    def _alike(self, gone: int) -> Iterator[int]:
        """Nodes of the same operator next to a node, or with the counterpart that its neighbours lead to."""
        near = [*self.old.refs[gone], *(user for user, _ in self.old.users[gone])]
        for position, ref in enumerate(self.old.refs[gone]):
            users = self.new.users[self.of_old[ref]] if ref in self.of_old else []
            near += [self.of_new[user] for user, at in users[:_MANY] if at == position and user in self.of_new]
        for user, position in self.old.users[gone][:_MANY]:
            refs = self.new.refs[self.of_old[user]] if user in self.of_old else []
            near += [self.of_new[ref] for ref in refs[position : position + 1] if ref in self.of_new]
        for other in dict.fromkeys(near):
            if self.old.kind[other] == self.old.kind[gone] and other in self.of_old and not self.old.is_leaf(other):
                yield other

    def _users(self, one: int, other: int) -> list[int]:
        users = (*self.old.users[one], *self.old.users[other])
        return list(dict.fromkeys((one, other, *(user for user, _ in users))))

    def _cost(self, nodes: Iterable[int]) -> int:
        """How much differs in what these nodes, and the counterparts' users, read."""
        return sum(self._cost_of(node) for node in nodes)

    def _cost_of(self, node: int) -> int:
        counterpart = self.of_old.get(node)
        if counterpart is None:
            return 0
        refs, others = self.old.refs[node], self.new.refs[counterpart]
        if len(refs) != len(others):
            return _CHANGED
        changed, cost = self.old.label[node] != self.new.label[counterpart], 0
        for ref, other in zip(refs, others, strict=True):
            found = self.of_old.get(ref)
            if found != other:
                stayed = found is not None and other in self.of_new
                changed |= stayed
                cost += _OTHER if stayed else _REPLACED
        return cost + _CHANGED * changed
