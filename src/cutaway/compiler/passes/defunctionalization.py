"""Operators that write, which torch had made functional, are called directly again: in place where nobody can tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.aliasing import Memory
from cutaway.compiler.passes.context import get_pass_context
from cutaway.compiler.passes.graph import (
    meta_of,
    placeholders_at,
    same_layout,
    same_offset,
    value_of,
)
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.mutating_call import (
    Base,
    MutatingCall,
    arguments,
    eager_arguments,
    fake_result,
    take_apart,
)

aten = torch.ops.aten


@dataclass(frozen=True)
class Defunctionalization(InductorPass):
    """Calls of ``auto_functionalized`` and ``auto_functionalized_v2`` become calls of the operator inside.

    It writes to the tensor itself when nobody reads the old content, or a view of it, from there on: when it is not an
    input, or one that was donated, or one that a ``copy_`` behind it gives the new content anyway, which then goes.
    Otherwise it writes to a clone. By schema: any operator, any number of arguments, lists, and views of them.

    What it leaves to Inductor, which takes such calls apart in the end: operators with ``out=``, higher-order operators
    inside, results that are used together, tensors of which a clone would lie in another way.

    Reports ``in_place`` and ``cloned`` (tensors), ``calls``, ``left``; and the note ``cloned``: tensor -> why.

    Idea: vLLM's ``FixFunctionalizationPass``, a list of operators for which it is taken for granted; torch's
    reinplacing (torch/_inductor/fx_passes/reinplace.py), which knows nothing of donated inputs.
    """

    name: ClassVar[str] = "defunctionalization"

    def __call__(self, graph: fx.Graph) -> None:
        context = get_pass_context()
        nodes = [node for node in graph.nodes if torch_internals.is_auto_functionalized(node.target)]
        if not nodes:
            return
        memory = Memory(graph)
        donated = placeholders_at(graph, context.donated_inputs)
        cloned: dict[str, str] = {}
        for node in nodes:
            one = take_apart(node)
            if one is None or not _choose(one, memory, donated):
                context.report.count("left")
                continue
            _rewrite(one, memory)
            context.report.count("calls")
            context.report.count("in_place", sum(base.why == "" for base in one.bases))
            cloned |= {base.node.name: base.why for base in one.bases if base.why}
            context.report.count("cloned", sum(base.why != "" for base in one.bases))
        if cloned:
            context.report.note("cloned", cloned)


# -- in place, or on a clone -------------------------------------------------------------------------------


def _choose(one: MutatingCall, memory: Memory, donated: Collection[fx.Node]) -> bool:
    """Decide for each base; False when one needs a clone, and none would lie as it does."""
    for base in one.bases:
        base.why = _given_twice(one, base, memory) or _why_not_in_place(one, base, memory, donated)
        if base.why:
            base.copies = []
            base.clone = fake_result(aten.clone.default, value_of(base.node))
            if not (same_layout(base.clone, base.node) and same_offset(base.clone, base.node)):
                return False
    return True


def _given_twice(one: MutatingCall, base: Base, memory: Memory) -> str:
    """Whether the call has another argument, or another base, in the same memory: it would read what it writes."""
    taken: list[fx.Node] = []
    fx.map_arg((one.node.args, one.node.kwargs), taken.append)
    taken.remove(base.node)
    group = memory.of(base.node)
    other = next((node for node in taken if group in memory.all_of(node)), None)
    return f"the call takes {other.name} in the same memory" if other is not None else ""


def _why_not_in_place(one: MutatingCall, base: Base, memory: Memory, donated: Collection[fx.Node]) -> str:
    group, called = memory.of(base.node), memory.order[one.node]
    if group.changes:
        return "a tensor is given other memory or sizes"
    kept = [node for node in group.inputs if node not in donated]
    back = _copy_back(base, memory, called) if base.node in group.inputs else None
    if kept and (back is None or kept != [base.node]):
        return f"{kept[0].name} is not given away"
    if kept and any(memory.of(node).returned for node in base.contents):
        return f"a result would lie in the memory of {kept[0].name}"
    until = len(memory.order) if back is None else memory.order[back]
    late = min((use for use in group.uses if called < use.index < until), key=lambda use: use.index, default=None)
    if late is not None:
        return f"{late.node.name} uses the old content afterwards"
    return "" if back is None else _why_not_back(base, back, memory)


def _copy_back(base: Base, memory: Memory, called: int) -> fx.Node | None:
    """The first ``copy_`` behind a call that gives all of a base another content."""
    copies = [user for user in base.node.users if user.target is aten.copy_.default and user.args[0] is base.node]
    late = [node for node in copies if memory.order[node] > called]
    return min(late, key=memory.order.__getitem__, default=None)


def _why_not_back(base: Base, back: fx.Node, memory: Memory) -> str:
    """Whether, behind the copy into the input, anybody sees that the new content lies there already."""
    copied = memory.order[back]
    if back.args[1] not in base.contents:
        late = [use for node in base.contents for use in memory.of(node).uses if use.index >= copied]
        return f"{late[0].node.name} uses the new content after {back.name} wrote another" if late else ""
    base.copies = [back]
    own = memory.of(base.node)
    for new in map(memory.of, base.contents):
        if own.returned and new.returned:
            return "two results would lie in one memory"
        for one, other in ((own, new), (new, own)):
            write = one.first_write(copied)
            late = other.first_use(write.index) if write is not None else None
            if write is not None and late is not None:
                return f"{late.node.name} uses one of two contents after {write.node.name} wrote to the other"
    return ""


# -- the graph ---------------------------------------------------------------------------------------------


def _rewrite(one: MutatingCall, memory: Memory) -> None:
    graph, node = one.node.graph, one.node
    targets: dict[int, fx.Node] = {}
    with graph.inserting_before(node):
        for place, base in one.places.items():
            targets[place] = base.node
            if base.why:
                targets[place] = graph.call_function(aten.clone.default, (base.node,))
                targets[place].meta = meta_of([node], base.clone)

        def view(written: torch_internals.WrittenView) -> fx.Node:
            whole = targets[written.base]
            if written.target is None:
                return whole
            made = graph.call_function(written.target, (whole, *written.args))
            args = fx.map_arg(written.args, value_of)
            made.meta = meta_of([node], fake_result(written.target, value_of(whole), *args))
            return made

        args, kwargs = arguments(one.call, view)
        called = graph.call_function(one.call.op, args, kwargs)
    returned = node.meta["val"][: one.call.results]
    called.meta = meta_of([node], returned[0] if len(returned) == 1 else tuple(returned))
    eager = eager_arguments(one)
    if eager is not None:
        called.meta["eager_input_vals"] = eager
    _rewire(one, called, targets, memory)


def _rewire(one: MutatingCall, called: fx.Node, targets: dict[int, fx.Node], memory: Memory) -> None:
    graph = one.node.graph
    for place, base in one.places.items():
        for node in base.contents:
            if not base.why:
                memory.merge(base.node, node)
            elif not memory.knows(targets[place]):
                memory.adopt(targets[place], node)
            else:
                memory.merge(targets[place], node)
            node.replace_all_uses_with(targets[place])
            graph.erase_node(node)
        for node in base.copies:
            node.replace_all_uses_with(base.node)
            graph.erase_node(node)
    for node in one.lists:
        graph.erase_node(node)
    for node in one.results:
        if one.call.results > 1:
            node.replace_input_with(one.node, called)
            continue
        if not memory.knows(called):
            memory.adopt(called, node)
        node.replace_all_uses_with(called)
        graph.erase_node(node)
    graph.erase_node(one.node)
