"""What the process that shrinks a graph is asked, and what it answers: plain JSON."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from cutaway.replay.job import Graph

Fault = Literal["pair", "overwritten", "compiled", "code", "crash", "nan"]
"""Two graphs that should compute the same; two of which the second writes to an input that the first leaves alone; a
graph and what Inductor makes of it; a graph and code that was generated for it; a graph whose code crashes; a
graph that makes NaN of numbers."""


class Passed(Struct):
    """What generated code is passed at one place: an input of its graph, or a number.

    Attributes:
        input: which input it is.
        number: or which number.
    """

    input: int | None = None
    number: int | float | bool | None = None


class GeneratedCode(Struct):
    """Code that was generated for a graph, as it ran.

    Attributes:
        path: of a file with its text.
        args: what its function is passed.
        results: for each output of the graph, its place in what the code returns; None where it is another value.
        constants: name of a tensor that the code holds -> a file with it.
    """

    path: str
    args: list[Passed] = []
    results: list[int | None] = []
    constants: dict[str, str] = {}


class Request(Struct, kw_only=True):
    """What to make a reproducer of.

    Attributes:
        fault: what it shows.
        graphs: one; for a pair the right one first.
        output: the last folder's path: where `reproducer.py` goes.
        nodes: for each graph, the node at which the fault was found; None where that is unknown.
        header: what the file says at its top, line by line.
        seconds: how long shrinking may take.
        code: of "code" and "crash", the code.
    """

    fault: Fault
    graphs: list[Graph]
    output: str
    nodes: list[str | None] = []
    header: list[str] = []
    seconds: float = 60.0
    code: GeneratedCode | None = None


class Made(Struct, kw_only=True):
    """What was made.

    Attributes:
        path: the file; empty when there is none.
        nodes: how many nodes its graphs have, and had.
        names: of those that they have.
        elements: how many numbers its inputs hold.
        is_seeded: whether seeded inputs show the fault.
        tries: how many smaller graphs were tried.
        is_shown: whether the file has shown the fault in a process of its own already.
        why: why there is none.
    """

    path: str = ""
    nodes: int = 0
    nodes_before: int = 0
    names: list[str] = []
    elements: int = 0
    is_seeded: bool = False
    tries: int = 0
    is_shown: bool = False
    why: str = ""
