"""Generated code held against its graph: the code of a small program, and the result that code computes wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.explain.reproducer.code import Code
from cutaway.explain.reproducer.forked import crashes
from cutaway.explain.reproducer.program import Program, compiled, differ, extract, run_graph
from cutaway.explain.within.generated import Generated
from cutaway.replay.values import copy


def code_for(program: Program) -> Code | None:
    """What Inductor generates for the graph of a program in this process; None where no Python is generated."""
    if program.fault == "crash":
        return _written_before_it_ends(program)
    code = _run(program, lambda _: None)
    return code if code is not None and any(place is not None for place in code.results) else None


def _written_before_it_ends(program: Program) -> Code | None:
    """The code of a program that ends its process: a copy of this one writes it down before it runs it."""
    with TemporaryDirectory(prefix="cutaway-code-") as folder:
        path = Path(folder) / "code.pt"
        crashes(lambda: lambda: _run(program, lambda code: torch.save(vars(code), path)))
        return Code(**torch.load(path, weights_only=True)) if path.exists() else None


def _run(program: Program, told: Callable[[Code], None]) -> Code | None:
    """Compile the graph of a program, and run it.

    Args:
        program: with the graph and its inputs.
        told: what is generated, just before it runs; where its results are is not known then.
    """
    graph = program.graphs[0]
    names = [node.name for node in graph.find_nodes(op="placeholder")]
    values = [copy(program.inputs[name]) for name in names]
    texts = list[str]()

    def tell(watch: Generated) -> None:
        code = _code(watch, texts, names)
        if code is not None:
            told(code)

    watch = Generated(values, tell)
    with torch.no_grad():
        with torch_internals.generated_code(lambda text: texts.append(text) or text):
            function = compiled(fx.GraphModule({}, graph), values)
        watch.run(function)
    return _code(watch, texts, names)


def _code(watch: Generated, texts: Sequence[str], names: Sequence[str]) -> Code | None:
    if not texts or watch.args is None:
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
