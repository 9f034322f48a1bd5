"""Which pieces are the same but for names: those are compiled once.

The recorder has a fingerprint for the same question (``cutaway.record.fingerprint``); that one is made of a node
table, holds between processes, and costs several times as much. This key lives as long as its graphs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.split.item import SplitItem

Counts = Callable[[fx.Node, Any], bool]


def structural_key(gm: fx.GraphModule, counts: Counts | None = None) -> Hashable:
    """A key that is equal for pieces of this process that compute the same, whatever their nodes are called.

    What counts: ops, which result goes where, constants with their types (``1``, ``1.0``, ``True`` and ``-0.0`` are
    four), of inputs the dtype, shape, strides and offset (as expressions over the symbols of their ShapeEnv), device
    and ``requires_grad``, which inputs share memory, constants and nested graphs that the piece holds, and what it
    returns. The key holds what it compares by identity, so that nothing else can take its place.

    Args:
        gm: the piece.
        counts: whether a constant among the arguments of a node counts; by default all do.
    """
    return _Key(gm, counts).tokens()


def differences(one: SplitItem, other: SplitItem) -> list[str]:
    """Sentences about the constants in which two pieces differ that are otherwise the same.

    Returns:
        such as ``piece_04 equals piece_02 but for a constant: node rms_norm, argument 2: 1e-06 != 1e-05``; none when
        they are equal, or differ in more than constants.
    """
    if structural_key(one.graph, _none_counts) != structural_key(other.graph, _none_counts):
        return []
    found: list[str] = []
    for mine, theirs in zip(one.graph.graph.nodes, other.graph.graph.nodes, strict=True):
        for (place, value), (_, wanted) in zip(constants(mine), constants(theirs), strict=True):
            if (type(value), _token(value)) != (type(wanted), _token(wanted)):
                found.append(
                    f"{one.submod_name} equals {other.submod_name} but for a constant: "
                    f"node {mine.name}, argument {place_text(place)}: {value!r} != {wanted!r}"
                )
    return found


def value_key(values: Iterable[Any]) -> Hashable:
    """A key that is equal for fake values that look the same: what :func:`structural_key` notes of an input."""
    looks = _Looks([])
    for value in values:
        looks.add(value)
    return tuple(looks.out)


Place = tuple[int | str, ...]


def constants(node: fx.Node) -> Iterator[tuple[Place, Any]]:
    """The constants among the arguments of a node, each with its place: ``(2,)``, ``("eps",)``, ``(0, 1)`` nested."""
    for index, value in enumerate(node.args):
        yield from _constants((index,), value)
    for name in sorted(node.kwargs):
        yield from _constants((name,), node.kwargs[name])


def place_text(place: Place) -> str:
    """``(0, 1)`` as ``0[1]``, ``("eps",)`` as ``eps``."""
    return str(place[0]) + "".join(f"[{step}]" for step in place[1:])


def _constants(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, fx.Node):
        return
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _constants((*place, index), item)
    elif isinstance(value, dict):
        for name in sorted(value, key=str):
            yield from _constants((*place, name), value[name])
    elif isinstance(value, slice):
        for name in ("start", "stop", "step"):
            yield from _constants((*place, name), getattr(value, name))
    else:
        yield place, value


def _none_counts(node: fx.Node, value: Any) -> bool:
    return False


@dataclass(frozen=True, eq=False)
class _Same:
    """Equal only to another around the same object, which it keeps alive."""

    thing: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


class _Looks:
    """What values look like, and which of them share memory, as tokens."""

    def __init__(self, out: list[Any]) -> None:
        self.out = out
        self._memory: dict[int, int] = {}

    def add(self, value: Any) -> None:
        """A fake value; of an opaque object only its type, because it is given at every call."""
        out = self.out
        if isinstance(value, torch.Tensor):
            out += (type(value), value.dtype, value.device, value.requires_grad, value.layout)
            if value.layout is not torch.strided:
                out.append(_Same(value))
                return
            out.append(value.dim())
            out += _expressions((*value.shape, *value.stride(), value.storage_offset()))
            out += (value.is_conj(), value.is_neg())
            out.append(self._memory.setdefault(torch_internals.storage_of(value), len(self._memory)))
        elif isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            out.append(type(value))
            out += _expressions((value,))
        elif isinstance(value, (tuple, list)):
            out += (tuple, len(value))
            for item in value:
                self.add(item)
        elif isinstance(value, (bool, int, float, str)):
            out += (type(value), _token(value))
        else:
            out.append(type(value))


class _Key:
    """The tokens of one graph, in the order in which they are met."""

    def __init__(self, gm: fx.GraphModule, counts: Counts | None) -> None:
        self.gm = gm
        self.counts = counts
        self.out: list[Any] = []
        self.looks = _Looks(self.out)
        self.number: dict[fx.Node, int] = {}

    def tokens(self) -> tuple[Any, ...]:
        out, number = self.out, self.number
        for node, target, args, kwargs in torch_internals.calls(self.gm.graph):
            op = node.op
            out.append(op)
            if op == "placeholder":
                self.looks.add(value_of(node))
            else:
                if op in ("get_attr", "call_module"):
                    self._held(operator.attrgetter(target)(self.gm))
                elif op != "output":
                    out.append(target)
                self._argument(node, args)
                if kwargs:
                    self._argument(node, kwargs)
            number[node] = len(number)
        self._results_of_opaque()
        return tuple(out)

    def _argument(self, node: fx.Node, value: Any) -> None:
        """The tokens of a constant or a nest of them. Each begins with its type: ``1 == 1.0 == True`` in Python."""
        out = self.out
        kind = type(value)
        if kind is fx.Node:
            out.append(fx.Node)
            out.append(self.number[value])
        elif isinstance(value, (tuple, list)):
            out.append(list if isinstance(value, list) else tuple)
            out.append(len(value))
            for item in value:
                self._argument(node, item)
        elif isinstance(value, dict):
            out += (dict, len(value))
            for name in sorted(value, key=str):
                out.append(name)
                self._argument(node, value[name])
        elif kind is slice:
            out.append(slice)
            for item in (value.start, value.stop, value.step):
                self._argument(node, item)
        elif self.counts is not None and not self.counts(node, value):
            out.append(...)
        else:
            out.append(kind)
            out.append(_token(value))

    def _held(self, thing: Any) -> None:
        """A constant of the piece: a nested graph by what it computes, a small tensor by its contents."""
        if isinstance(thing, fx.GraphModule):
            self.out.append(_Key(thing, self.counts).tokens())
            return
        contents = torch_internals.tensor_constant(thing) if isinstance(thing, torch.Tensor) else None
        if contents is None:
            self.out.append(_Same(thing))
        else:
            self.looks.add(thing)
            self.out.append(contents)

    def _results_of_opaque(self) -> None:
        """What an op makes of an opaque input (a layer's name) its fake implementation may decide by what is in it."""
        for node in self.number:
            if node.op != "placeholder":
                return
            if _is_opaque(value_of(node)):
                for user in node.users:
                    self.looks.add(value_of(user))


def _expressions(sizes: tuple[Any, ...]) -> Iterator[Any]:
    """Sizes as expressions, and whose symbols these are made of."""
    for size in sizes:
        if isinstance(size, int):
            yield size
        else:
            yield torch_internals.expression(size)
            yield _Same(torch_internals.shape_env_of_size(size))


def value_of(node: fx.Node) -> Any:
    """The fake value of a node, or None."""
    return node.meta.get("example_value", node.meta.get("val"))


def _is_opaque(value: Any) -> bool:
    plain = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool, bool, int, float, str, tuple, list)
    return value is not None and not isinstance(value, plain)


def _token(value: Any) -> Any:
    """A constant such that two of one type are equal only when Python can tell them apart by nothing else."""
    if isinstance(value, float):
        return value.hex() if math.isfinite(value) else repr(value)
    if isinstance(value, complex):
        return _token(value.real), _token(value.imag)
    if isinstance(value, torch.SymInt):
        return torch_internals.expression(value)
    if isinstance(value, torch.Tensor):
        return _Same(value)
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return value
