"""The process that shrinks: runs code out of a dump, apart from the one that asks.

python -m cutaway.explain.reproducer.child REQUEST.json MADE.json
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from torch import fx

from cutaway.explain.reproducer.job import Made, Request
from cutaway.explain.reproducer.program import Program, plain
from cutaway.explain.reproducer.shrink import Shrinker
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
    program, nodes = _program(request)
    before = program.size
    if not program.shows():
        return Made(nodes_before=before, why="the whole graph, run by itself with the same inputs, does not show it")
    shrinker = Shrinker(program, request.seconds)
    small = shrinker.run(nodes)
    path = Path(request.output)
    imports = [line for graph in request.graphs for line in imports_of(graph.text)]
    used = [str(node.target) for graph in small.graphs for node in graph.nodes]
    needed = imports if any(not _is_of_torch(target) for target in used) else []
    header = [*request.header, f"{small.size} of {before} nodes."]
    write(small, path, header, needed, shrinker.is_seeded)
    return Made(
        path=str(path),
        nodes=small.size,
        nodes_before=before,
        elements=sum(value.numel() for value in small.used().values() if hasattr(value, "numel")),
        is_seeded=shrinker.is_seeded,
        tries=shrinker.tries,
    )


def _is_of_torch(target: str) -> bool:
    return target.startswith(("aten.", "prims.", "<built-in", "_operator", "output", "inductor.")) or "." not in target


def _program(request: Request) -> tuple[Program, list[str | None]]:
    """The graphs as fx, over inputs of the same names."""
    graphs: list[fx.Graph] = []
    inputs: dict[str, Any] = {}
    nodes: list[str | None] = []
    given: list[Any] = []
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
        for node in traced.graph.find_nodes(op="get_attr"):
            inputs[str(shown.get(node, node.name))] = _attribute(loaded.module, str(node.target))
        graphs.append(graph)
        wanted = request.nodes[number] if number < len(request.nodes) else None
        nodes.append(wanted if any(node.name == wanted for node in graph.nodes) else None)
    return Program(request.fault, tuple(graphs), inputs), nodes


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


if __name__ == "__main__":
    main()
