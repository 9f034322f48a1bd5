"""How a function becomes an operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, overload

import torch

from cutaway.errors import OpError
from cutaway.ops.impl import described
from cutaway.ops.lookup import add, registry
from cutaway.ops.names import check_name, did_you_mean, listed
from cutaway.ops.op import IrOp
from cutaway.ops.signature import schema_of, signature_of
from cutaway.ops.torch_op import NAMESPACE, is_taken


@overload
def register_op(function: Callable[..., Any], /) -> IrOp: ...
@overload
def register_op(
    *, name: str | None = None, activations: Sequence[str] | None = None, allow_inplace: bool = False
) -> Callable[[Callable[..., Any]], IrOp]: ...
def register_op(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    activations: Sequence[str] | None = None,
    allow_inplace: bool = False,
) -> IrOp | Callable[[Callable[..., Any]], IrOp]:
    """Register an operator; the decorated function says what it means, and is its provider ``native``.

    Args:
        function: annotated; returns new tensors and changes none. It runs wherever another implementation does not.
        name: of the op; the function's, if it is left out.
        activations: parameters whose memory an in-place implementation may reuse; if left out, the tensors whose names
            begin with ``x``.
        allow_inplace: whether there is an overload ``maybe_inplace``, and implementations that write to activations:
            as many outputs as activations, each as its activation.

    Raises:
        OpError: see `cutaway.ops.signature` for what a function may look like; the name is no name or taken; an
            activation is no tensor parameter; outputs do not answer to activations where ``allow_inplace``.
    """

    def register(native: Callable[..., Any]) -> IrOp:
        if not callable(native):
            raise OpError(f"{native!r} cannot be an op", "it is no function", "decorate a function with register_op")
        op_name = check_name(getattr(native, "__name__", None) if name is None else name, "an op")
        _check_is_free(op_name)
        op = IrOp(op_name, native, _activations(op_name, native, activations, allow_inplace), allow_inplace)
        return add(op)

    return register if function is None else register(function)


def _check_is_free(name: str) -> None:
    if name in registry:
        raise OpError(
            f"an op '{name}' is registered already", f"it is {described(registry[name].impls['native'].function)}",
            "give this one another name; a module or cell that was run again needs a new process",
        )  # fmt: skip
    if is_taken(name):
        raise OpError(
            f"an op cannot be named '{name}'",
            f"torch.ops.{NAMESPACE}.{name} is something else already",
            "give it another name",
        )


def _activations(
    name: str, native: Callable[..., Any], wanted: Sequence[str] | None, allow_inplace: bool
) -> Sequence[str]:
    """The activations by convention or as named, in the order of the parameters."""
    signature = signature_of(native, f"op '{name}'")
    outputs = schema_of(signature, f"op '{name}'").rpartition("-> ")[2]
    tensors = [parameter for parameter in signature.parameters if _is_tensor(signature.parameters[parameter])]
    if isinstance(wanted, str):
        raise OpError(f"activations of op '{name}' are {wanted!r}", "they are a list of names", f"write [{wanted!r}]")
    for activation in wanted or ():
        if activation not in tensors:
            raise OpError(
                f"op '{name}' cannot have the activation '{activation}'",
                f"its tensor parameters are: {listed(tensors)}",
                did_you_mean(activation, tensors, "name one of these"),
            )
    found = [tensor for tensor in tensors if (tensor.startswith("x") if wanted is None else tensor in wanted)]
    plain = ["Tensor"] * len(found)
    if allow_inplace and outputs not in (f"({', '.join(plain)})", ", ".join(plain)):
        raise OpError(
            f"op '{name}' cannot have allow_inplace=True",
            f"it returns {outputs}, and its activations are: {listed(found)}; each output is to lie in one's memory",
            "return one tensor for each activation, or name them: register_op(activations=[…], allow_inplace=True)",
        )
    return found


def _is_tensor(parameter: inspect.Parameter) -> bool:
    return parameter.annotation in (torch.Tensor, torch.Tensor | None)
