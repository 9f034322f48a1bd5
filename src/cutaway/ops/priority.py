"""Which implementation of an op comes first."""

from __future__ import annotations

import contextlib
import difflib
import logging
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

from cutaway.errors import OpError

if TYPE_CHECKING:
    from cutaway.ops.impl import IrOpImpl
    from cutaway.ops.op import IrOp

log = logging.getLogger(__name__)


class Scope(threading.local):
    """The priority that is in force on this thread for one op; None: the process's default.

    A thread-local, not a ``ContextVar``: Dynamo can trace reading it, and guards on what it read, so that a compiled
    function that inlined an implementation is compiled again when the priority is another.
    """

    order: tuple[IrOpImpl, ...] | None = None


def resolve(op: IrOp, providers: Sequence[str]) -> tuple[IrOpImpl, ...]:
    """The implementations that a list of providers stands for: supported here, up to the first that takes everything.

    Raises:
        OpError: a provider is unknown, or none of the list is supported here.
    """
    if isinstance(providers, str):
        raise OpError(
            f"the priority of op '{op.name}' is the string {providers!r}",
            "a priority is a list of providers",
            f"write [{providers!r}]",
        )
    for provider in providers:
        if provider not in op.impls:
            raise _unknown(op, provider, providers)
    order: list[IrOpImpl] = []
    for provider in dict.fromkeys(providers):
        impl = op.impls[provider]
        if not impl.supported:
            log.debug("op %s: provider %s is not supported here, skipped", op.name, provider)
            continue
        order.append(impl)
        if impl.supports_all_args:
            return tuple(order)
    if not order:
        raise OpError(
            f"no provider in the priority {list(providers)} of op '{op.name}' is supported here",
            f"supported here: {', '.join(op.supported_providers())}",
            "put one of these in the list",
        )
    _warn_once(op, tuple(providers))
    return (*order, op.impls["native"])


def _unknown(op: IrOp, provider: str, providers: Sequence[str]) -> OpError:
    near = difflib.get_close_matches(provider, op.impls, n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(repr(name) for name in near)}? " if near else ""
    return OpError(
        f"op '{op.name}' has no provider '{provider}' (in the priority {list(providers)})",
        f"it has: {', '.join(op.impls)}",
        f"{meant}Register one with register_impl, or take it out of the list",
    )


_warned: set[tuple[str, tuple[str, ...]]] = set()


def _warn_once(op: IrOp, providers: tuple[str, ...]) -> None:
    if (op.name, providers) in _warned:
        return
    _warned.add((op.name, providers))
    warnings.warn(
        f"op '{op.name}': no provider in the priority {list(providers)} takes all arguments, so 'native' runs what they "
        "refuse; add 'native' to the end of the list to silence this",
        stacklevel=4,
    )


@contextlib.contextmanager
def set_priority(priorities: Mapping[str, Sequence[str]]) -> Generator[None]:
    """Priorities of several ops, on this thread, while the block runs.

    Args:
        priorities: name of an op -> providers, the preferred first.

    Raises:
        OpError: an op or a provider is unknown; then no priority has changed.
    """
    from cutaway.ops.op import find_op  # noqa: PLC0415  (an op has a priority, and a priority names ops)

    resolved = [(op, resolve(op, order)) for op, order in ((find_op(name), priorities[name]) for name in priorities)]
    with contextlib.ExitStack() as stack:
        for op, order in resolved:
            stack.enter_context(scoped(op.scope, order))
        yield


@contextlib.contextmanager
def scoped(scope: Scope, order: tuple[IrOpImpl, ...]) -> Generator[None]:
    """Put an order in force, and the one before it back."""
    before = scope.order
    scope.order = order
    try:
        yield
    finally:
        scope.order = before


def set_default_priority(priorities: Mapping[str, Sequence[str]]) -> None:
    """Priorities of several ops for the whole process; arguments and errors as in `set_priority`."""
    from cutaway.ops.op import find_op  # noqa: PLC0415

    ops = [(find_op(name), order) for name, order in priorities.items()]
    for op, order in ops:
        resolve(op, order)
    for op, order in ops:
        op.set_default(order)
