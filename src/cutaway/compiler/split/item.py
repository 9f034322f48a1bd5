"""One piece of a split graph."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx


@dataclass(frozen=True)
class SplitItem:
    """A piece (vLLM: submodule) of a split graph, in the order in which pieces run.

    Attributes:
        submod_name: the target of the ``call_module`` node that calls it: ``piece_00``, ``piece_01``, ...
        graph_id: its number, from 0.
        is_splitting_graph: whether it holds splitting ops: it then runs as it is, between compiled pieces.
        graph: the piece. It takes tensors and symbolic sizes only, and returns a tuple.
    """

    submod_name: str
    graph_id: int
    is_splitting_graph: bool
    graph: fx.GraphModule
