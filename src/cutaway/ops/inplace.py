"""The overload of an op whose caller gives the activations away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from cutaway.ops.signature import schema_of
from cutaway.ops.torch_op import any_requires_grad, define
from cutaway.ops.wrap import DEFAULT, SCOPE

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp


class MaybeInplace:
    """``op.maybe_inplace``: computes what the op does, and may write to the activations (vLLM's overload of that name).

    The caller gives the activations away: after the call they hold anything, and outputs may lie in their memory. They
    must not share memory with each other or with another argument, nor hold one element twice (``expand``).

    Attributes:
        op: the op.
        schema: torch's, without the name; activations are marked as written to.
        torch_op: the ``OpOverload`` ``torch.ops.cutaway_ir.<op>.maybe_inplace``.
    """

    def __init__(self, op: IrOp) -> None:
        self.op = op
        self.schema = schema_of(op.signature, f"op '{op.name}'", mutated=op.activations)
        native = op.impls["native"].function
        self.torch_op: Any = define(f"{op.name}.maybe_inplace", self.schema, self.choose_and_run, native, op.run_fake)

    def __repr__(self) -> str:
        return f"{self.op!r}.maybe_inplace"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (self.op, "maybe_inplace")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        on = SCOPE.scoped
        if DEFAULT.on if on is None else on:
            return self.torch_op(*args, **kwargs)
        if torch.is_grad_enabled() and any_requires_grad(args, kwargs):
            return self.op.impls["native"].function(*args, **kwargs)
        return self.op.dispatch(*args, **kwargs).function(*args, **kwargs)

    def made_of(self) -> list[Any]:
        """What stands for it wherever code reads it."""
        return [self.op]

    def choose_and_run(self, *args: Any, **kwargs: Any) -> Any:
        """What torch's dispatcher calls in the end."""
        return self.op.dispatch(*args, **kwargs).function(*args, **kwargs)
