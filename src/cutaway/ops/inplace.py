"""The overload of an op whose caller gives the activations away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from cutaway.ops.wrap import DEFAULT, SCOPE

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp


class MaybeInplace:
    """``op.maybe_inplace``: as the op, but the activations may be written to and must not be used afterwards.

    Attributes:
        op: the op.
        schema: torch's, without the name; the activations are marked as written to.
        torch_op: torch's operator, overload ``maybe_inplace``.
    """

    def __init__(self, op: IrOp, library: torch.library.Library) -> None:
        self.op = op
        self.schema = torch.library.infer_schema(op.impls["native"].function, mutates_args=op.activations)
        name = f"{op.name}.maybe_inplace"
        library.define(name + self.schema)
        library.impl(name, self._run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{library.ns}::{name}", self._run_fake, lib=library)
        self.torch_op: Any = getattr(getattr(torch.ops, library.ns), op.name).maybe_inplace

    def __repr__(self) -> str:
        return f"{self.op!r}.maybe_inplace"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        on = SCOPE.scoped
        if DEFAULT.on if on is None else on:
            return self.torch_op(*args, **kwargs)
        return self.op.dispatch(*args, **kwargs).function(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self.op.dispatch(*args, **kwargs).function(*args, **kwargs)

    def _run_fake(self, *args: Any, **kwargs: Any) -> Any:
        return self.op.fake(*args, **kwargs)
