"""The torch operator behind an op: what torch's dispatcher does with a call of it.

    Autocast    off inside: an op computes in the dtypes that it says, compiled or not
    Autograd    where gradients are recorded, the native body runs, and is recorded; else on to the next
    Python …    fake tensors ask the fake, tracers put down one node: nothing decomposes it
    backend     the implementation that the priority chooses

Torch itself passes over autograd in inference mode, and over autocast where none is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from cutaway.errors import OpError
from cutaway.torch_internals import call_below_autograd, only_backend_below, storage_of, without_autocast

NAMESPACE = "cutaway_ir"
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")  # for as long as the process lives: ops stay


def define(
    name: str, schema: str, run: Callable[..., Any], native: Callable[..., Any], fake: Callable[..., Any]
) -> Any:
    """Register a torch operator.

    Args:
        name: of the operator, after a dot that of its overload.
        schema: arguments and returns in torch's words.
        run: chooses an implementation and calls it.
        native: what it means, in operators that autograd knows.
        fake: makes outputs without data.

    Returns:
        The ``OpOverload``.

    Raises:
        OpError: torch does not take the schema; nothing is registered then.
    """
    try:
        LIBRARY.define(name + schema)
    except RuntimeError as error:
        raise OpError(
            f"op '{name}' cannot be a torch operator", f"torch does not take its schema {schema}: {_line(error)}",
            "most often a default that has no plain text (an infinite number, a quoted string): take None instead",
        ) from error  # fmt: skip
    packet, _, overload_name = name.partition(".")
    overload = getattr(getattr(getattr(torch.ops, NAMESPACE), packet), overload_name or "default")

    def autograd(keys: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled() and any_requires_grad(args, kwargs):
            return native(*args, **kwargs)
        if only_backend_below(keys):  # `run` is what it would call: that is halfway round the dispatcher saved
            return run(*args, **kwargs)
        return call_below_autograd(overload, keys, args, kwargs)

    def autocast(*args: Any, **kwargs: Any) -> Any:
        with without_autocast():
            return overload(*args, **kwargs)

    # CompositeExplicitAutograd: AOTAutograd keeps the op whole, where CompositeImplicitAutograd would be decomposed.
    LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    LIBRARY.impl(name, autograd, "Autograd", with_keyset=True)
    for key in ("AutocastCPU", "AutocastCUDA"):
        LIBRARY.impl(name, autocast, key)
    torch.library.register_fake(f"{NAMESPACE}::{name}", fake, lib=LIBRARY)
    return overload


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def is_taken(name: str) -> bool:
    """Whether ``torch.ops.cutaway_ir.<name>`` is something already: another library's operator, or torch's own."""
    return hasattr(getattr(torch.ops, NAMESPACE), name)


def any_requires_grad(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a tensor among the arguments, or in a list of them, requires a gradient."""
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            if value.requires_grad:
                return True
        elif isinstance(value, (list, tuple)) and any_requires_grad(value, {}):
            return True
    return False


def shared_with(outputs: Any, args: Mapping[str, Any]) -> str:
    """``output 1 is memory of argument 'x'``, or of another output; empty when each has memory of its own."""
    owners = {storage_of(tensor): f"argument '{name}'" for name, value in args.items() for tensor in tensors_in(value)}
    for number, output in enumerate(tensors_in(outputs)):
        owner = owners.setdefault(storage_of(output), f"output {number}")
        if owner != f"output {number}":
            return f"output {number} is memory of {owner}"
    return ""


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor in a value: itself, or those in a list or tuple of them."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, (list, tuple)) else []
