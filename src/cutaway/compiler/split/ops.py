"""Where a graph is cut: names of ops, ops tagged by whoever defined them, and which nodes call one.

A name means the operator, not the spelling: ``aten::scaled_dot_product_attention`` is found whether the graph calls
``torch.ops.aten.scaled_dot_product_attention.default`` or, as Dynamo writes it down,
``torch.nn.functional.scaled_dot_product_attention``. Where that cannot be told exactly the cut is refused.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.errors import SplitError
from cutaway.torch_internals import OpOverload, OpOverloadPacket

T = TypeVar("T")
Op = OpOverload | OpOverloadPacket

_TAG = "_cutaway_splitting_op"

# What an operator of Python calls when one side is a tensor. ``getitem`` is missing: it may call any of five.
_PYTHON_OPERATORS: dict[Any, str] = {
    operator.add: "aten::add",
    operator.sub: "aten::sub",
    operator.mul: "aten::mul",
    operator.truediv: "aten::div",
    operator.matmul: "aten::matmul",
    operator.pow: "aten::pow",
    operator.neg: "aten::neg",
    operator.iadd: "aten::add_",
    operator.isub: "aten::sub_",
    operator.imul: "aten::mul_",
    operator.itruediv: "aten::div_",
}


def splitting_op(op: T) -> T:
    """Tag an op as one at which every graph is cut, wherever it is used. Returns what it was given, so it decorates.

    The tag is kept on torch's own object for the op: that is as process-wide as the op, and goes when it goes.

    Args:
        op: ``namespace::name`` or ``namespace::name.overload`` of a registered op, an op out of ``torch.ops``, or
            what ``torch.library.custom_op`` returned.

    Raises:
        SplitError: there is no such op (yet: tag it after it is defined).
    """
    found: Any = op
    if isinstance(op, str):
        found = _resolve_one(op)
    elif not isinstance(op, (OpOverload, OpOverloadPacket)):
        found = torch_internals.overload_of_custom_op(op)
    if found is None:
        raise SplitError(
            f"{op!r} is no operator", "only what torch.ops holds can be told apart in a graph", "give its name"
        )
    setattr(found, _TAG, True)
    return op


def resolve(names: Iterable[str]) -> set[Op]:
    """The ops that these names mean.

    Args:
        names: ``namespace::name`` for every overload of an op (its packet), ``namespace::name.overload`` for one.

    Raises:
        SplitError: a name is of another form, or no such op is registered; the nearest names that are, are named.
    """
    return {_resolve_one(name) for name in names}


def _resolve_one(name: str) -> Op:
    namespace, colons, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    if not colons or not namespace or not base:
        raise SplitError(f"{name!r} is not the name of an op", _nearest(name), "write it as namespace::name")
    packet = _packet(f"{namespace}::{base}")
    if packet is None:
        raise SplitError(
            f"there is no op {name!r} to split at", _nearest(name), "import what registers it, or correct the name"
        )
    if not overload:
        return packet
    if overload not in packet.overloads():
        raise SplitError(
            f"the op {namespace}::{base} has no overload {overload!r}",
            f"it has {', '.join(packet.overloads())}",
            f"choose one, or {namespace}::{base} for all",
        )
    return getattr(packet, overload)


def _nearest(name: str) -> str:
    """A sentence with the registered ops whose names come nearest, or with what is needed to have some."""
    known = {registered.partition(".")[0] for registered in torch_internals.registered_ops()}
    wanted = name.replace(".", "::", 1) if "::" not in name else name.partition(".")[0]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    ours = sorted(other for other in known if other.rpartition("::")[2] == wanted.rpartition("::")[2])
    near = list(dict.fromkeys([*ours, *near]))[:3]
    return f"the nearest that exist are {', '.join(near)}" if near else "nothing of a similar name is registered"


class SplittingOps:
    """Which nodes of a graph call a splitting op.

    Args:
        names: as in :func:`resolve`; ops tagged by :func:`splitting_op` count as well.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._ops = resolve(names)
        self._by_name: dict[str, bool | None] = {}
        self._by_target: dict[Any, bool] = {}

    def __contains__(self, node: object) -> bool:
        """Whether a node calls one.

        Raises:
            SplitError: it calls a function of torch of which that cannot be told.
        """
        if not isinstance(node, fx.Node) or node.op not in ("call_function", "call_method"):
            return False
        if node.op == "call_method":
            return self._is_method(str(node.target), node)
        if node.target in _PYTHON_OPERATORS:
            return self._is_named(_PYTHON_OPERATORS[node.target], node) and _takes_tensor(node)
        verdict = self._by_target.get(node.target)
        if verdict is None:
            verdict = self._by_target[node.target] = self._is_function(node.target, node)
        return verdict

    def _is_function(self, target: Any, node: fx.Node) -> bool:
        if isinstance(target, OpOverload):
            return self._is_asked(target) or self._is_asked(target.overloadpacket)
        if isinstance(target, OpOverloadPacket):
            return self._is_named(torch_internals.packet_name(target), node)
        name = torch_internals.aten_name(target)
        if name is not None:
            return self._is_named(name, node)
        if isinstance(target, FunctionType) and target.__module__.partition(".")[0] == "torch":
            self._refuse_python(f"aten::{target.__name__}", node)
        return False

    def _is_method(self, method: str, node: fx.Node) -> bool:
        name = f"aten::{method}"
        if self._of_packet(name) is False or not _takes_tensor(node):
            return False
        if torch_internals.aten_name_of_method(method) is None:
            self._refuse_python(name, node)
        return self._is_named(name, node)

    def _is_asked(self, op: Op) -> bool:
        return op in self._ops or _TAG in vars(op)

    def _of_packet(self, name: str) -> bool | None:
        """Whether all overloads of an op are splitting ops, or none (False), or only some of them (None)."""
        if name not in self._by_name:
            packet = _packet(name)
            asked = False if packet is None else self._is_asked(packet)
            if packet is not None and not asked:
                found = [self._is_asked(getattr(packet, overload)) for overload in packet.overloads()]
                asked = None if any(found) and not all(found) else any(found)
            self._by_name[name] = asked
        return self._by_name[name]

    def _is_named(self, name: str, node: fx.Node) -> bool:
        asked = self._of_packet(name)
        if asked is None:
            raise SplitError(
                f"the graph cannot be split at one overload of {name}",
                f"node {node.name} calls {_shown(node)}, and which overload that takes is decided when it runs",
                f"name the op without its overload: {name}",
            )
        return asked

    def _refuse_python(self, name: str, node: fx.Node) -> None:
        if self._of_packet(name) is not False:
            raise SplitError(
                f"the graph cannot be split at {name}",
                f"node {node.name} calls {_shown(node)}, a function in Python of which it is not known that it calls "
                "just that op",
                f"call torch.ops.{name.replace('::', '.')} in the model, or wrap the call in a custom op",
            )


def _packet(name: str) -> OpOverloadPacket | None:
    namespace, _, base = name.partition("::")
    found = getattr(getattr(torch.ops, namespace), base, None)
    return found if isinstance(found, OpOverloadPacket) else None


def _takes_tensor(node: fx.Node) -> bool:
    """Whether an argument is a tensor; a node without a value is taken for one."""
    return any(
        isinstance(other.meta.get("example_value", other.meta.get("val")), (torch.Tensor, type(None)))
        for other in node.all_input_nodes
    )


def _shown(node: fx.Node) -> str:
    """A call as a reader knows it: ``torch.nn.functional.softmax``, ``Tensor.split``."""
    if node.op == "call_method":
        return f"Tensor.{node.target}"
    return f"{getattr(node.target, '__module__', '')}.{getattr(node.target, '__name__', node.target)}"
