"""The process that shrinks: runs code out of a dump, apart from the one that asks.

python -m cutaway.explain.reproducer.child REQUEST.json MADE.json
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from torch import fx

from cutaway.explain.reproducer.against import code_for, wrong_result
from cutaway.explain.reproducer.code import Code
from cutaway.explain.reproducer.job import Made, Request
from cutaway.explain.reproducer.make import CODE_ALONE, run_reproducer
from cutaway.explain.reproducer.program import Program, plain, warm_up
from cutaway.explain.reproducer.shrink import Shrinker, seeded_inputs
from cutaway.explain.reproducer.write import imports_of, write
from cutaway.replay.compiled import trace
from cutaway.replay.loaded import LoadedGraph


def main() -> None:
    """Read the request, do it, write what was made; the exit code is 0 also when it could not be done."""
    asked, answered = map(Path, sys.argv[1:])
    request = msgspec.json.decode(asked.read_bytes(), type=Request)
    try:
        made = make(request)
    except Exception as error:  # noqa: BLE001  (whatever the dump's code did)
        made = Made(why=f"{type(error).__name__}: {error}"[:500])
    answered.write_bytes(msgspec.json.encode(made))


def make(request: Request) -> Made:
    """Shrink a graph, and write the file."""
    program, nodes, inputs = _program(request)
    before = program.size
    if request.code is not None:
        return _with_code(request, program, Code.of(request.code, inputs))
    if request.fault == "crash":
        warm_up()
    if not program.shows():
        return Made(nodes_before=before, why="the whole graph, run by itself with the same inputs, does not show it")
    shrinker = Shrinker(program, request.seconds)
    small = shrinker.run(nodes)
    code = code_for(small) if request.fault in ("compiled", "crash") else None
    if request.fault == "crash" and code is None:
        return Made(nodes_before=before, why="Inductor's code for the smaller graph is no Python")
    _write(request, small, before, shrinker.is_seeded, code)
    return _made(request, small, before, shrinker.is_seeded, code, shrinker.tries)


def _with_code(request: Request, program: Program, code: Code) -> Made:
    """Write the file of code that ran, with the result that it computes wrongly alone."""
    before = program.size
    if request.fault == "code":
        found = wrong_result(program, code)
        if found is None:
            why = "the code, run by itself with the same inputs, computes what the graph does"
            return Made(nodes_before=before, why=why)
        program, code = found
    seeded = replace(program, inputs=seeded_inputs(program.inputs))
    if request.fault == "crash":
        _write(request, seeded, before, True, code)
        if run_reproducer(Path(request.output), request.seconds, CODE_ALONE)[0] == 1:
            return _made(request, seeded, before, True, code, is_shown=True)
    elif wrong_result(seeded, code) is not None:
        _write(request, seeded, before, True, code)
        return _made(request, seeded, before, True, code)
    _write(request, program, before, False, code)
    return _made(request, program, before, False, code)


def _write(request: Request, program: Program, before: int, is_seeded: bool, code: Code | None) -> None:
    imports = [line for graph in request.graphs for line in imports_of(graph.text)]
    used = [str(node.target) for graph in program.graphs for node in graph.nodes]
    needed = imports if any(not _is_of_torch(target) for target in used) else []
    header = [*request.header, f"{program.size} of {before} nodes."]
    Path(request.output).with_suffix(".pt").unlink(missing_ok=True)
    write(program, Path(request.output), header, needed, is_seeded, code)


def _made(
    request: Request,
    program: Program,
    before: int,
    is_seeded: bool,
    code: Code | None,
    tries: int = 1,
    is_shown: bool = False,
) -> Made:
    used = program.used(code.args if code is not None else ())
    return Made(
        path=request.output,
        nodes=program.size,
        nodes_before=before,
        names=[node.name for graph in program.graphs for node in graph.nodes if node.op.startswith("call")],
        elements=sum(value.numel() for value in used.values() if hasattr(value, "numel")),
        is_seeded=is_seeded,
        tries=tries,
        is_shown=is_shown,
    )


def _is_of_torch(target: str) -> bool:
    return target.startswith(("aten.", "prims.", "<built-in", "_operator", "output", "inductor.")) or "." not in target


def _program(request: Request) -> tuple[Program, list[str | None], list[Any]]:
    """The graphs as fx, over inputs of the same names; what the first one's inputs are called, or which number."""
    graphs: list[fx.Graph] = []
    inputs: dict[str, Any] = {}
    nodes: list[str | None] = []
    given: list[Any] = []
    called: list[Any] = []
    for number, one in enumerate(request.graphs):
        loaded = LoadedGraph(one, number)
        given = given or loaded.inputs(0)
        traced = trace(loaded, given)
        tensors = [value for value in given if hasattr(value, "dtype")]
        shown = {node: name for name, node in traced.nodes.items() if "/" not in name}
        graph = plain(traced.graph, shown)
        names = [str(shown.get(node, node.name)) for node in traced.graph.find_nodes(op="placeholder")]
        if number and not set(names) <= inputs.keys():
            raise ValueError("the two graphs take other inputs")
        inputs |= dict(zip(names, tensors, strict=True))
        if not number:
            waiting = iter(names)
            called = [next(waiting) if hasattr(value, "dtype") else value for value in given]
        for node in traced.graph.find_nodes(op="get_attr"):
            inputs[str(shown.get(node, node.name))] = _attribute(loaded.module, str(node.target))
        graphs.append(graph)
        wanted = request.nodes[number] if number < len(request.nodes) else None
        nodes.append(wanted if any(node.name == wanted for node in graph.nodes) else None)
    return Program(request.fault, tuple(graphs), inputs), nodes, called


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


if __name__ == "__main__":
    main()
