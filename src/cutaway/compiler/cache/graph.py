"""What of a piece's graph and inputs its artifact depends on.

The fingerprint (:mod:`cutaway.record.fingerprint`) says which operators are called how, up to names. It does not
cover what stands here: which inputs share memory, what constants and opaque objects hold, and what functions
do that are no operators.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.cache.custom_ops import called_operators
from cutaway.identity import sources, stable
from cutaway.identity.sources import UncacheableError
from cutaway.record.fingerprint import fingerprint, ordered
from cutaway.record.names import target_name
from cutaway.record.nodes import TableBuilder
from cutaway.record.summary import op_counts
from cutaway.record.values import node_value

_PLAIN_CLASSES = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
_WORD = re.compile(r"[A-Za-z_]\w*")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NUMBERS = ("kernel_idx", "constant_args_idx")  # of torch's side table, given as kernels are met


def graph_factors(gm: fx.GraphModule) -> dict[str, Any]:
    """The ``graph`` section: the fingerprint, counts of operators (for reading), and what the fingerprint leaves out.

    Raises:
        UncacheableError: something in the graph cannot be told from its like.
    """
    table = _without_accidents(TableBuilder().build(gm))
    return {"fingerprint": fingerprint(table), "ops": op_counts(table), **_Beyond(gm).found()}


def _without_accidents(value: Any) -> Any:
    """A node table without what depends on the process: addresses of objects, and numbers of Triton kernels.

    What the objects and kernels are stands beside the fingerprint.
    """
    if isinstance(value, dict):
        return {
            key: None if key in _NUMBERS and isinstance(part, int) else _without_accidents(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_without_accidents(part) for part in value]
    return _ADDRESS.sub("", value) if isinstance(value, str) and " at 0x" in value else value


def input_factors(inputs: Sequence[Any]) -> dict[str, Any]:
    """The ``inputs`` section: a line for each input, and which of them lie in the same memory.

    Symbols are named by their first appearance, as in the fingerprint.
    """
    sizes = _Sizes()
    lines = [_input(value, sizes, f"input {index}") for index, value in enumerate(inputs)]
    return {"values": lines, "sharing memory": sharing(inputs)}


def devices_of(gm: fx.GraphModule, inputs: Sequence[Any]) -> list[str]:
    """The devices that tensors of a piece lie on, such as ``["cpu"]``."""
    values = [node_value(node) for _, node, _ in nodes_of(gm)]
    flat = [part for value in (*inputs, *values) for part in (value if isinstance(value, (list, tuple)) else [value])]
    return sorted({str(value.device) for value in flat if isinstance(value, torch.Tensor)})


def nodes_of(gm: fx.GraphModule, prefix: str = "") -> Iterator[tuple[str, fx.Node, fx.GraphModule]]:
    """Every node, those of nested graphs after the node that names them: (place such as ``3.0``, node, graph)."""
    for index, node in enumerate(gm.graph.nodes):
        yield f"{prefix}{index}", node, gm
        held = _held(gm, node) if node.op in ("get_attr", "call_module") else None
        if isinstance(held, fx.GraphModule):
            yield from nodes_of(held, f"{prefix}{index}.")


def sharing(values: Sequence[Any]) -> list[list[int]]:
    """Groups of positions whose tensors share memory (views of one another, tied weights)."""
    groups: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, torch.Tensor) and value.layout is torch.strided:
            groups.setdefault(torch_internals.storage_of(value), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


class _Sizes:
    """Symbolic sizes as text, symbols renamed by first appearance."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}

    def text(self, size: Any) -> str:
        if isinstance(size, int):
            return str(int(size))
        expr = torch_internals.expression(size)
        free = {str(symbol) for symbol in getattr(expr, "free_symbols", ())}

        def rename(match: re.Match[str]) -> str:
            word = match.group()
            return self.renamed.setdefault(word, f"z{len(self.renamed)}") if word in free else word

        return ordered(_WORD.sub(rename, str(expr)))

    def list(self, sizes: Sequence[Any]) -> str:
        return f"[{', '.join(self.text(size) for size in sizes)}]"


def _input(value: Any, sizes: _Sizes, where: str) -> Any:
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return f"{type(value).__name__} {sizes.text(value)}"
    if isinstance(value, torch.Tensor):
        return _tensor(value, sizes, where)
    if torch_internals.is_passed_through(value):
        return {"passed through": type(torch_internals.opaque_value(value)).__qualname__}
    return stable.stable(value, where)


def _tensor(value: torch.Tensor, sizes: _Sizes, where: str) -> str:
    if torch_internals.fake_mode_of(value) is None and type(value) not in _PLAIN_CLASSES:
        raise UncacheableError(where, f"a tensor of class {type(value).__qualname__} is more than its sizes")
    text = f"{str(value.dtype).removeprefix('torch.')}{sizes.list(value.shape)} on {value.device}"
    if value.layout is not torch.strided:
        return f"{text} {value.layout}"
    text += f" stride {sizes.list(value.stride())} offset {sizes.text(value.storage_offset())}"
    marks = {"requires grad": value.requires_grad, "conjugate": value.is_conj(), "negative": value.is_neg()}
    return " ".join([text, *(mark for mark, holds in marks.items() if holds)])


def _held(gm: fx.GraphModule, node: fx.Node) -> Any:
    held: Any = gm
    for part in str(node.target).split("."):
        held = getattr(held, part, None)
    return held


class _Beyond:
    """Collects, in order of the nodes, what the fingerprint leaves out."""

    def __init__(self, gm: fx.GraphModule) -> None:
        self.gm = gm
        self.constants: list[tuple[str, Any]] = []
        self.values: dict[str, Any] = {}
        self.kernels: dict[str, Any] = {}

    def found(self) -> dict[str, Any]:
        for place, node, owner in nodes_of(self.gm):
            where = f"node {node.name}"
            if node.op in ("get_attr", "call_module"):
                self.attribute(place, node, _held(owner, node))
            elif node.op == "placeholder":
                self.placeholder(place, node, where)
            elif node.op == "call_function":
                self.function(place, node, where)
            self.arguments(place, [node.args, node.kwargs], where)
        digests = {
            place: stable.tensor_digest(held, f"the constant of node {place}")
            if isinstance(held, torch.Tensor)
            else held
            for place, held in self.constants
        }
        shared = sharing([held for _, held in self.constants])
        return {
            "constants": digests,
            "constants sharing memory": [[self.constants[index][0] for index in group] for group in shared],
            "values": self.values,
            "triton": self.kernels,
        }

    def attribute(self, place: str, node: fx.Node, held: Any) -> None:
        if isinstance(held, fx.GraphModule):
            if node.op == "call_module":  # the fingerprint goes into graphs that are arguments, not into those called
                self.values[place] = {"graph": fingerprint(_without_accidents(TableBuilder().build(held)))}
        elif isinstance(held, torch.Tensor):
            self.constants.append((place, held))
        elif node.op == "call_module":
            raise UncacheableError(f"node {node.name}", f"it calls a module ({type(held).__qualname__})")
        else:
            self.values[place] = stable.stable(held, f"node {node.name}")

    def placeholder(self, place: str, node: fx.Node, where: str) -> None:
        """Inputs that are no tensors or sizes: only what is passed through may differ from call to call."""
        value = node_value(node)
        if value is None or isinstance(value, (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)):
            return
        self.values[place] = _input(value, _Sizes(), where)

    def function(self, place: str, node: fx.Node, where: str) -> None:
        target = node.target
        kernels = _triton(node, where)
        if kernels:
            self.kernels[place] = [
                [sources.digest(source), stable.stable(constants, where)] for source, constants in kernels
            ]
        if torch_internals.is_higher_order(target):
            if not sources.comes_with_python_or_torch(type(target).__module__):
                self.values[place] = stable.stable(type(target), where)
        elif not called_operators(node):
            self.values |= _named(place, target, stable.stable(target, where))

    def arguments(self, place: str, value: Any, where: str) -> None:
        """Look through arguments for what the fingerprint knows by its ``repr`` only."""
        if value is None or isinstance(value, (fx.Node, bool, int, float, complex, str, range, type(...))):
            return
        if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
            return
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            return
        if isinstance(value, (list, tuple)):
            if hasattr(value, "_fields") and _has_nodes(value):
                raise UncacheableError(where, f"its argument is a {type(value).__qualname__} of nodes")
            for part in value:
                self.arguments(place, part, where)
        elif isinstance(value, Mapping):
            for part in (*value, *value.values()):
                self.arguments(place, part, where)
        elif isinstance(value, slice):
            self.arguments(place, (value.start, value.stop, value.step), where)
        elif not torch_internals.overloads_of(value) and not torch_internals.is_higher_order(value):
            self.values |= _named(f"{place}/{len(self.values)}", value, stable.stable(value, where))


def _triton(node: fx.Node, where: str) -> list[tuple[str, Any]]:
    try:
        return torch_internals.triton_kernels_of(node)
    except Exception as error:  # whatever is no kernel of a Triton that is installed
        raise UncacheableError(where, f"the source of its Triton kernel cannot be had ({error!r})") from error


def _named(place: str, value: Any, facts: Any) -> dict[str, Any]:
    """Nothing for what Python or torch have under the very name that the fingerprint counts."""
    known = isinstance(facts, dict) and len(facts) == 1
    if known and ("builtin" in facts or {target_name(value)} & {facts.get("function"), facts.get("class")}):
        return {}
    return {place: facts}


def _has_nodes(value: Any) -> bool:
    return any(isinstance(part, fx.Node) or (isinstance(part, (list, tuple)) and _has_nodes(part)) for part in value)
