"""The arguments of an op, described by all that tracing an implementation can tell apart.

Twice: within one graph by the symbols' own names (`Describer.describe`), which takes a few microseconds; and so that
graphs with other symbols and other fake modes have the same (`Describer.portable`), which takes a hundred, once for
each description in a graph.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.passes.replacement.facts import Facts

#: Values that are equal exactly when tracing cannot tell them apart, once their type stands beside them.
_PLAIN = (
    bool, int, str, bytes, type(None), type(...),
    torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip
_BITS = {float: struct.Struct("d").pack, complex: lambda value: struct.pack("dd", value.real, value.imag)}


def is_plain(value: Any) -> bool:
    """Whether a value is a constant that means the same everywhere."""
    kind = type(value)
    return kind in _PLAIN or kind in _BITS


class Symbolic(NamedTuple):
    """A symbolic number in a description.

    Attributes:
        kind: int, float or bool.
        expr: its sympy expression.
        hint: what it is for the example's sizes, if that is known.
    """

    kind: type
    expr: Any
    hint: Any


class UndescribedError(Exception):
    """Something about an argument has no description; why, in words. It never leaves the lowering pass."""


@dataclass(frozen=True)
class Portable:
    """A description in which symbols are numbers.

    Attributes:
        key: equal for arguments that tracing cannot tell apart.
        symbols: the symbols that the numbers stand for, in their order.
    """

    key: Hashable
    symbols: tuple[Any, ...]


class Describer:
    """Describes the arguments of one graph's nodes.

    Args:
        maker: of the graph's fake mode.

    Attributes:
        numbers: every symbolic number that was met, by its description.
    """

    def __init__(self, maker: torch_internals.FakeMaker) -> None:
        self.maker = maker
        self.shape_env = maker.mode.shape_env
        self.facts = Facts(self.shape_env)
        self.numbers: dict[Symbolic, Any] = {}
        self._tensors: dict[int, tuple[torch.Tensor, Hashable]] = {}  # the tensor is kept, so that its id is its own

    def describe(self, args: Sequence[Any], inputs: Mapping[fx.Node, Any]) -> tuple[Hashable, ...]:
        """Arguments as a key among the nodes of this graph.

        Args:
            args: them, with nodes in them.
            inputs: what each distinct node among them returns, as they first appear.

        Raises:
            UndescribedError: one of them cannot be described.
        """
        memories: dict[int, int] = {}
        nodes = {node: (place, self._input(value, memories)) for place, (node, value) in enumerate(inputs.items())}
        return tuple([self._argument(arg, nodes) for arg in args])

    def _argument(self, arg: Any, nodes: Mapping[fx.Node, Hashable]) -> Hashable:
        kind = type(arg)
        if kind is fx.Node:
            return kind, nodes[arg]
        if kind in _PLAIN:
            return kind, arg
        if isinstance(arg, (list, tuple)):
            return kind, *[self._argument(part, nodes) for part in arg]
        return self._number(kind, arg)

    def _input(self, value: Any, memories: dict[int, int]) -> Hashable:
        """What a node returns; of a tensor, also which of the memories so far it lies in."""
        if isinstance(value, torch.Tensor):
            known = self._tensors.get(id(value))
            if known is None:
                known = self._tensors[id(value)] = (value, self._tensor(value))
            return memories.setdefault(torch_internals.storage_of(value), len(memories)), known[1]
        kind = type(value)
        return (kind, value) if kind in _PLAIN else self._number(kind, value)

    def _number(self, kind: type, value: Any) -> Hashable:
        if kind in _BITS:
            return kind, _BITS[kind](value)  # 0.0 is not -0.0, and nan is nan
        if kind in torch_internals.SymbolicNumber:
            return kind, self._symbolic(value)
        raise UndescribedError(f"an argument is a {kind.__module__}.{kind.__qualname__}")

    def _tensor(self, value: Any) -> Hashable:
        if not self.maker.owns(value):
            raise UndescribedError("an argument is no plain fake tensor of the graph's fake mode")
        keys = torch_internals.plain_keys(value)
        if keys is None:
            raise UndescribedError("an argument is not a plain strided tensor")
        memory = value.untyped_storage().nbytes()
        sizes: tuple[Any, ...] = (*value.shape, *value.stride(), value.storage_offset(), memory)
        if torch_internals.has_symbolic_sizes(value) or type(memory) is not int:
            sizes = tuple([size if type(size) is int else self._symbolic(size) for size in sizes])
        return value.dtype, value.device, keys, value.requires_grad, sizes

    def _symbolic(self, number: Any) -> Symbolic:
        parts = torch_internals.parts_of_number(number)
        if parts is None or parts.shape_env is not self.shape_env:
            raise UndescribedError("a size belongs to no symbols of the graph")
        described = Symbolic(parts.kind, parts.expr, parts.hint)
        self.numbers.setdefault(described, number)
        return described

    def forget_facts(self) -> None:
        """Look anew at what is known of the symbols."""
        self.facts = Facts(self.shape_env)

    def portable(self, described: tuple[Hashable, ...]) -> Portable:
        """The same description for any graph: symbols by number, with what is known of them.

        Raises:
            UndescribedError: what is known of the symbols cannot be described.
        """
        sizes: list[Any] = []
        _collect(described, sizes)
        if not sizes:
            return Portable(described, ())
        known = self.facts.about(sizes)
        if known is None:
            raise UndescribedError("symbolic sizes are answered from example values")
        return Portable((_renamed(described, known.renamed), known.key), known.symbols)


def _collect(described: Any, sizes: list[Any]) -> None:
    """The expressions in a description, in their order."""
    for part in described:
        if type(part) is Symbolic:
            sizes.append(part.expr)
        elif type(part) is tuple:
            _collect(part, sizes)


def _renamed(described: Any, renamed: Callable[[Any], Any]) -> Any:
    """A description with its expressions renamed."""
    if type(described) is Symbolic:
        return Symbolic(described.kind, renamed(described.expr), described.hint)
    return tuple([_renamed(part, renamed) for part in described]) if type(described) is tuple else described
