"""Every operator that is registered: by its name, and behind a node of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import fx

from cutaway.errors import OpError
from cutaway.ops.names import did_you_mean, listed
from cutaway.ops.torch_op import NAMESPACE
from cutaway.torch_internals import OpOverload, OpOverloadPacket, packet_name

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp

_ops: dict[str, IrOp] = {}
registry: Mapping[str, IrOp] = MappingProxyType(_ops)
"""Name -> op; read only, and filled by `register_op`."""


def add(op: IrOp) -> IrOp:
    """Put an op in under its name, which is free."""
    assert op.name not in _ops
    _ops[op.name] = op
    return op


def find_op(name: str) -> IrOp:
    """The op of that name.

    Raises:
        OpError: there is none; the nearest names are given.
    """
    if name in _ops:
        return _ops[name]
    raise OpError(
        f"there is no op '{name}'",
        f"registered are: {listed(_ops)}",
        did_you_mean(name, _ops, "import the module that registers it; those of Cutaway: cutaway.ops.library"),
    )


def ir_op_of(target: Any) -> IrOp | None:
    """The op behind a node or behind what a node calls; None when it is another operator, or none.

    Args:
        target: an ``fx.Node``, or an overload or packet out of ``torch.ops``.
    """
    if isinstance(target, fx.Node):
        target = target.target
    if isinstance(target, OpOverload):
        space, _, name = target.name().partition("::")
        return _ops.get(name.partition(".")[0]) if space == NAMESPACE else None
    if isinstance(target, OpOverloadPacket):
        space, _, name = packet_name(target).partition("::")
        return _ops.get(name) if space == NAMESPACE else None
    return None
