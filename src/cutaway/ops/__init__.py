"""Operators with several implementations: one meaning, a provider chosen by a list of preferences.

    @register_op
    def scale(x: Tensor, factor: float) -> Tensor:      # the body is provider "native": what the op means
        return x * factor

    @scale.register_impl("cpp", supported=has_compiler(), supports_args=lambda x, factor: x.dtype is torch.float32)
    def scale_cpp(x: Tensor, factor: float) -> Tensor: ...

    with scale.set_priority(["cpp", "native"]):
        scale(x, 2.0)

Each op is a torch op as well (``torch.ops.cutaway_ir.scale``), which stays whole until the compiler's lowering puts the
chosen implementation in its place. The idea, and the names, are vLLM's IR (``vllm/ir/op.py``).

The ops that come with Cutaway are registered by importing ``cutaway.ops.library``; nothing here imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutaway.ops.cases import Case as Case
    from cutaway.ops.check import CheckRow as CheckRow
    from cutaway.ops.check import check_op as check_op
    from cutaway.ops.impl import IrOpImpl as IrOpImpl
    from cutaway.ops.lookup import find_op as find_op
    from cutaway.ops.lookup import ir_op_of as ir_op_of
    from cutaway.ops.lookup import registry as registry
    from cutaway.ops.op import IrOp as IrOp
    from cutaway.ops.priority import set_default_priority as set_default_priority
    from cutaway.ops.priority import set_priority as set_priority
    from cutaway.ops.register import register_op as register_op
    from cutaway.ops.wrap import enable_torch_wrap as enable_torch_wrap
    from cutaway.ops.wrap import set_default_torch_wrap as set_default_torch_wrap

_HOME = {
    "cases": ("Case",),
    "check": ("CheckRow", "check_op"),
    "impl": ("IrOpImpl",),
    "op": ("IrOp",),
    "priority": ("set_default_priority", "set_priority"),
    "register": ("register_op",),
    "lookup": ("find_op", "ir_op_of", "registry"),
    "wrap": ("enable_torch_wrap", "set_default_torch_wrap"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Case",
    "CheckRow",
    "IrOp",
    "IrOpImpl",
    "check_op",
    "enable_torch_wrap",
    "find_op",
    "ir_op_of",
    "register_op",
    "registry",
    "set_default_priority",
    "set_default_torch_wrap",
    "set_priority",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'cutaway.ops' has no attribute {name!r}")
    return getattr(import_module(f"cutaway.ops.{_MODULE[name]}"), name)
