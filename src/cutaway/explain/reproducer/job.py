"""What the process that shrinks a graph is asked, and what it answers: plain JSON."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cutaway.replay.job import Graph

Fault = Literal["pair", "compiled", "nan", "crash"]
"""Two graphs that should compute the same; a graph and what Inductor makes of it; a graph that makes NaN of numbers; a
graph whose compiled code ends the process."""


class Request(Struct, kw_only=True):
    """What to make a reproducer of.

    Attributes:
        fault: what it shows.
        graphs: one; for a pair the right one first.
        output: the last folder's path: where `reproducer.py` goes.
        nodes: for each graph, the node at which the fault was found; None where that is unknown.
        header: what the file says at its top, line by line.
        seconds: how long shrinking may take.
    """

    fault: Fault
    graphs: list[Graph]
    output: str
    nodes: list[str | None] = []
    header: list[str] = []
    seconds: float = 60.0


class Made(Struct, kw_only=True):
    """What was made.

    Attributes:
        path: the file; empty when there is none.
        nodes: how many nodes its graphs have, and had.
        elements: how many numbers its inputs hold.
        is_seeded: whether seeded inputs show the fault.
        tries: how many smaller graphs were tried.
        why: why there is none.
    """

    path: str = ""
    nodes: int = 0
    nodes_before: int = 0
    elements: int = 0
    is_seeded: bool = False
    tries: int = 0
    why: str = ""
