"""``op.maybe_inplace`` becomes ``op``; what its caller gave away is remembered, and must not be used any more.

This runs over graphs as Dynamo hands them over: Python functions, methods and packets beside operators, arguments by
position or by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import fx

from cutaway.compiler.passes.aliasing import Memory
from cutaway.compiler.passes.context import PassReport, get_pass_context
from cutaway.compiler.passes.graph import is_weight, lies_all_over, shown, tensor_of
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.errors import CompileError
from cutaway.ops import IrOp, ir_op_of

_CURE = "call the op itself, which leaves its arguments alone, or clone the tensor before"


@dataclass(frozen=True)
class InplaceFunctionalization(InductorPass):
    """Replaces ``maybe_inplace`` by the op, so that the graph is functional, and notes which inputs were given away.

    A placeholder is noted in the pass context (``donated_inputs``) when all of it was given away, itself or as a view
    of the same size, and when no other placeholder lies in its memory.

    Reports the number of nodes, in all (``functionalized``) and by op, and the note ``donated``: their names.

    Idea: vLLM's ``VllmIRInplaceFunctionalizationPass``, which looks at direct users of positional arguments.

    Raises:
        CompileError: an argument that was given away cannot be (see :func:`check_donations`).
    """

    name: ClassVar[str] = "inplace_functionalization"

    def __call__(self, graph: fx.Graph) -> None:
        context = get_pass_context()
        context.report.count("functionalized", 0)
        donated: list[fx.Node] = []
        for inner in _graphs(graph):
            found = _rewrite(inner, context.report)
            donated += found if inner is graph else []  # inside of a graph, nobody asks for its inputs
        positions = {node: place for place, node in enumerate(graph.find_nodes(op="placeholder"))}
        context.donated_inputs.update(positions[node] for node in donated)
        if donated:
            context.report.note("donated", [node.name for node in donated])


def check_donations(gm: fx.GraphModule) -> None:
    """Hold every ``maybe_inplace`` of a whole graph, before it is cut, to what its caller promised.

    In a piece, a later use may be out of sight.

    Args:
        gm: as Dynamo hands it over. It is not changed; graphs inside of it are looked at, too.

    Raises:
        CompileError: an argument is used after it was given away, itself, as a view of it, or as a result of the
            graph; or it is a weight or another state that the next call will read; or the op is given it twice. The
            nodes are printed where they stand, with their source lines.
    """
    for graph in _graphs(gm.graph):
        _donations(graph, _calls(graph))


def _graphs(graph: fx.Graph) -> list[fx.Graph]:
    """A graph and those inside of it: branches, bodies of loops."""
    inner = [] if graph.owning_module is None else graph.owning_module.modules()
    return [graph, *(one.graph for one in inner if isinstance(one, fx.GraphModule) and one.graph is not graph)]


def _rewrite(graph: fx.Graph, report: PassReport) -> list[fx.Node]:
    """Make the calls of one graph functional; the placeholders that were given away."""
    nodes = _calls(graph)
    donated = _donations(graph, nodes)
    for node, op in nodes:
        node.target = op.torch_op
        report.count("functionalized")
        report.count(op.name)
    return donated


def _donations(graph: fx.Graph, nodes: list[tuple[fx.Node, IrOp]]) -> list[fx.Node]:
    """Check them all; the placeholders that were given away as a whole."""
    if not nodes:
        return []
    memory = Memory(graph)
    found: dict[fx.Node, None] = {}
    for node, op in nodes:
        for given in _given_away(node, op):
            _check(node, op, given, memory)
            found |= dict.fromkeys(_whole_inputs(given, memory))
    return list(found)


def _calls(graph: fx.Graph) -> list[tuple[fx.Node, IrOp]]:
    """Calls of ``maybe_inplace``, in order."""
    found: list[tuple[fx.Node, IrOp]] = []
    for node in graph.nodes:
        op = ir_op_of(node) if node.op == "call_function" else None
        if op is not None and op.allow_inplace and node.target is op.maybe_inplace.torch_op:
            found.append((node, op))
    return found


def _given_away(node: fx.Node, op: IrOp) -> list[fx.Node]:
    """The activations of a call."""
    names = list(op.signature.parameters)
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    found = [given[name] for name in op.activations if given.get(name) is not None]
    return [one for one in found if isinstance(one, fx.Node)]


def _check(node: fx.Node, op: IrOp, given: fx.Node, memory: Memory) -> None:
    if not memory.knows(given):
        raise _refused(op, given, "it is not known to be one tensor", {node: "it is given away here"})
    group = memory.of(given)
    weight = next((one for one in group.inputs if is_weight(one)), None)
    if weight is not None:
        why = f"{_called(weight, given)} outlives the call: the next one would read what this one wrote"
        raise _refused(op, given, why, {node: "it is given away here"})
    here = [use for use in group.uses if use.node is node]
    if len(here) > 1 or _times(node, given) > 1:
        values = dict.fromkeys(use.value for use in here)
        names = " and ".join(f"%{value.name}" for value in values)
        why = "the op is given it twice" if len(values) == 1 else f"the op is given {names}, which share memory"
        raise _refused(op, given, why, {node: "it is given away here"})
    later = group.first_use(memory.order[node] + 1)
    if later is not None:
        how = "" if later.value is given else f", as %{later.value.name},"
        what = "is a result of the graph" if later.node.op == "output" else f"is used{how} after that"
        marks = {node: f"%{given.name} is given away here", later.node: f"%{later.value.name} is used here"}
        raise _refused(op, given, f"its memory may have been written to, and it {what}", marks)


def _times(node: fx.Node, given: fx.Node) -> int:
    found: list[Any] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found.count(given)


def _called(weight: fx.Node, given: fx.Node) -> str:
    return f"%{weight.name}" if weight is given else f"%{weight.name}, which it is a view of,"


def _refused(op: IrOp, given: fx.Node, why: str, marks: dict[fx.Node, str]) -> CompileError:
    what = f"%{given.name} cannot be given away to {op.name}.maybe_inplace"
    return CompileError(what, why, f"{_CURE}:\n{shown(marks)}")


def _whole_inputs(given: fx.Node, memory: Memory) -> list[fx.Node]:
    """The placeholder that a tensor is all of; none when it is a part, or when inputs share memory."""
    inputs = memory.of(given).inputs
    if len(inputs) != 1 or inputs[0].op != "placeholder":
        return []
    whole, part = tensor_of(inputs[0]), tensor_of(given)
    return inputs if whole is not None and part is not None and lies_all_over(part, whole) else []
