"""The key of an artifact: a readable document of all that it depends on, and its digest.

The document lies beside the artifact as ``cache_key_factors.json``, so that a miss can be explained by comparing two
of them. The idea of keeping the raw factors is vLLM's; there, the graph is not among them.

    graph         fingerprint of the piece; what that leaves out: constants, opaque values, functions, Triton kernels
    inputs        dtype, sizes, strides, device of each input; which of them share memory
    range         for which batch sizes
    options       entries of the backend's configuration for this piece
    compiler      name and factors of the compiler
    config        the fields of CompilationConfig that are marked as changing a piece
    torch         versions, settings, and state of the process that changes code
    environment   variables that compilers read, the processor, accelerators
    cutaway       version, and digest of the sources that shape artifacts
    custom_ops    schema and sources of operators that do not come with torch
    ir            priority and implementations of ops that have several (``cutaway.ops``)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cutaway.compiler.build.interface import CompilerInterface, Task
from cutaway.compiler.cache.custom_ops import custom_op_factors
from cutaway.compiler.cache.environment import cutaway_factors, environment_factors, torch_factors
from cutaway.compiler.cache.graph import devices_of, graph_factors, input_factors, nodes_of
from cutaway.compiler.cache.ir import ir_factors
from cutaway.compiler.config import CompilationConfig, Part
from cutaway.identity import sources, stable
from cutaway.identity.sources import UncacheableError

Factors = dict[str, Any]

__all__ = ["Factors", "UncacheableError", "compare", "key_of", "piece_factors"]


def piece_factors(task: Task, compiler: CompilerInterface, config: CompilationConfig) -> Factors:
    """Everything that the artifact of a task depends on, as JSON. It changes nothing and adds no guard.

    The example value of a symbolic size is not among them (nor is it in torch's own keys): only its bounds are.

    Raises:
        UncacheableError: something in it cannot be told from its like in another process.
    """
    devices = devices_of(task.graph, task.inputs)
    nodes = [node for _, node, _ in nodes_of(task.graph)]
    return {
        "graph": graph_factors(task.graph),
        "inputs": input_factors(task.inputs),
        "range": {"start": task.range.start, "end": task.range.end, "single size": task.range.is_single_size},
        "options": stable.stable(dict(task.options), "an option"),
        "compiler": compiler_factors(compiler),
        "config": config_factors(config),
        "torch": torch_factors(devices, {**config.inductor, **task.options}),
        "environment": environment_factors(devices),
        "cutaway": cutaway_factors(),
        "custom_ops": custom_op_factors(nodes),
        "ir": ir_factors(nodes, compiler.rewriters()),
    }


def compiler_factors(compiler: CompilerInterface) -> Factors:
    """Name, class and factors of a compiler; of one that does not come with Cutaway also its source file, if any.

    A compiler that stands in front of another (as its ``compiler``) counts as that one.
    """
    inner = getattr(compiler, "compiler", None)
    if isinstance(inner, CompilerInterface):
        return compiler_factors(inner)
    kind = type(compiler)
    found: Factors = {
        "name": compiler.name,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "factors": stable.stable(compiler.factors(), f"the factors of the compiler {compiler.name}"),
    }
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is not None and not kind.__module__.startswith("cutaway."):
        found["source"] = sources.file_digest(file, f"the compiler {compiler.name}")
    return found


def config_factors(config: CompilationConfig) -> Factors:
    """The fields that key a piece, and those parts of others that do: passes switched off, where Inductor cuts.

    Of the priority, ``ir`` says what concerns this piece.
    """
    keyed = {name: value for name, value in config.keyed("piece").items() if name != "ir_priority"}
    found = {name: stable.stable(value, f"config.{name}") for name, value in keyed.items()}
    off = sorted(part for part in config.off if part == Part.PASSES.value or part.startswith("pass:"))
    cuts = list(config.splitting_ops) if config.use_inductor_graph_partition else []
    return found | {"passes off": off, "Inductor cuts at": cuts}


def key_of(factors: Mapping[str, Any]) -> str:
    """The key: SHA-256, in hex, of the document's canonical JSON."""
    return sources.digest(stable.canonical(factors))


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where two documents differ: (path such as ``torch.threads`` or ``inputs.values[0]``, old, new), in order.

    What only one of them has is None in the other.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    paths = sorted(before.keys() | after.keys())
    return [
        (path, before.get(path), after.get(path))
        for path in paths
        if path not in before or path not in after or stable.canonical(before[path]) != stable.canonical(after[path])
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no other, with its path; empty mappings and lists stand for themselves."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and value:
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{index}]")
    elif not isinstance(value, (Mapping, list, tuple)):
        yield path, value
