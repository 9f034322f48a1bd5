"""What a lineage is asked of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cutaway.dump.lineage.calls import Call
from cutaway.dump.lineage.result import Kind
from cutaway.dump.lineage.spot import Ids, Spot


class Start(NamedTuple):
    """Where ways begin.

    Attributes:
        spot, ids: the nodes.
        title: the member of the answer that they are of; empty for a node, which is one by itself.
        call: for a kernel; its nodes are followed apart when they are of different lines.
    """

    spot: Spot
    ids: Ids
    title: str = ""
    call: Call | None = None


@dataclass(frozen=True)
class Question:
    """What was asked.

    Attributes:
        text: as it was typed.
        kind: what it is about.
        starts: where the ways begin.
        notes: how it might have been meant, too.
    """

    text: str
    kind: Kind
    starts: tuple[Start, ...]
    notes: tuple[str, ...] = ()
