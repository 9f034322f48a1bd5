"""Generated code held against its graph: the code of a small program, and the result that code computes wrongly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.explain.reproducer.code import Code
from cutaway.explain.reproducer.program import Program, compiled, differ, extract, run_graph
from cutaway.explain.within.generated import Generated
from cutaway.replay.values import copy


def code_for(program: Program) -> Code | None:
    """What Inductor generates for the graph of a program in this process; None where no Python is generated."""
    graph = program.graphs[0]
    names = [node.name for node in graph.find_nodes(op="placeholder")]
    values = [copy(program.inputs[name]) for name in names]
    watch, texts = Generated(values), list[str]()
    with torch.no_grad():
        with torch_internals.generated_code(lambda text: texts.append(text) or text):
            function = compiled(fx.GraphModule({}, graph), values)
        watch.run(function)
    if not texts or watch.args is None or not any(place is not None for place in watch.results):
        return None
    args = [names[one.input] if one.input is not None else one.number for one in watch.args]
    return Code(texts[-1], tuple(one for one in args if one is not None), tuple(watch.results), watch.constants)


def wrong_result(program: Program, code: Code) -> tuple[Program, Code] | None:
    """The program with the one result that code computes wrongly; None when it computes all that the graph does.

    All results stay when it is the inputs that the code leaves wrong.
    """
    call = code.loaded()
    expected, left = run_graph(program.graphs[0], program.inputs)
    given = {name: copy(value) for name, value in program.inputs.items()}
    with torch.no_grad():
        found = call(given)
    (end,) = program.graphs[0].find_nodes(op="output")
    ends: Any = end.args[0]
    for place, (wanted, at) in enumerate(zip(expected, code.results, strict=True)):
        if at is None or at >= len(found) or not differ([wanted], [found[at]]) or not isinstance(ends[place], fx.Node):
            continue
        smaller = extract(program.graphs[0], [ends[place]], {})
        return replace(program, graphs=(smaller,)), replace(code, results=(at,))
    is_left = differ(list(left.values()), [given[name] for name in left])
    return (program, code) if is_left else None
