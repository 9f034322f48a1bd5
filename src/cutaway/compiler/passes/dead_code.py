"""What nobody reads is removed, unless it does something else than return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.inductor_pass import InductorPass


@dataclass(frozen=True)
class DeadCodeElimination(InductorPass):
    """Removes nodes that nobody reads, in the graph and in those inside of it.

    What stays: what writes to an argument, asserts, operators with a registered effect, operators without a result
    (they are called for something that their schema does not say), higher-order operators of which nobody knows that
    they do not write, modules. Inputs stay.

    Reports ``removed``.

    Attributes:
        keep_random: whether what takes random numbers stays, so that those that others get remain the same.

    Idea: ``fx.Graph.eliminate_dead_code``, which does the walk; its own notion of what is impure knows nothing of
    operators without a result, or of higher-order operators that write.
    """

    name: ClassVar[str] = "dead_code_elimination"
    keep_random: bool = True

    def __call__(self, graph: fx.Graph) -> None:
        before = _size(graph)
        graph.eliminate_dead_code(self._must_stay)
        get_pass_context().report.count("removed", before - _size(graph))

    def _must_stay(self, node: fx.Node) -> bool:
        if node.op in ("placeholder", "output", "call_module", "call_method"):
            return True
        if node.op == "get_attr":
            return False
        target = node.target
        if torch_internals.is_higher_order(target):
            pure = torch_internals.is_pure_higher_order(target)
            return not pure or torch_internals.may_change_more(target, node.args)
        overload = torch_internals.op_overload(target)
        if overload is None:
            return torch_internals.may_change_more(target, node.args)
        if self.keep_random and torch_internals.is_random(overload):
            return True
        return torch_internals.returns_nothing(overload) or torch_internals.may_change_more(overload, node.args)


def _size(graph: fx.Graph) -> int:
    inner = [] if graph.owning_module is None else graph.owning_module.modules()
    graphs = {id(graph): graph} | {id(one.graph): one.graph for one in inner if isinstance(one, fx.GraphModule)}
    return sum(len(one.nodes) for one in graphs.values())
