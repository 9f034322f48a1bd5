"""Which implementation of an op comes first."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cutaway.errors import OpError
from cutaway.ops.impl import IrOpImpl, implementation
from cutaway.ops.lookup import find_op
from cutaway.ops.names import listed

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp

log = logging.getLogger(__name__)


class Scope(threading.local):
    """The priority that is in force on this thread for one op; None: the process's default.

    A thread-local, not a ``ContextVar``: Dynamo can trace reading it, and guards on what it read, so that a compiled
    function that inlined an implementation is compiled again when the priority is another.
    """

    order: tuple[IrOpImpl, ...] | None = None


def resolve(op: IrOp, providers: Sequence[str]) -> tuple[IrOpImpl, ...]:
    """The implementations that a list of providers stands for.

    Those that this machine does not support are left out; after the first that takes all arguments the list ends. When
    none takes all, ``native`` follows, with one warning.

    Args:
        op: whose implementations.
        providers: their names, the preferred first.

    Raises:
        OpError: a provider is unknown, the list is empty, or none of it is supported here.
    """
    if isinstance(providers, str):
        raise OpError(
            f"the priority of op '{op.name}' is {providers!r}", "it is a list of providers", f"write [{providers!r}]"
        )
    names = tuple(providers)
    impls = {name: implementation(op, name, f"its priority {list(names)}") for name in names}
    order: list[IrOpImpl] = []
    for name, impl in impls.items():
        if not impl.supported:
            log.debug("op '%s': provider '%s' is not supported here, passed over", op.name, name)
            continue
        order.append(impl)
        if impl.supports_all_args:
            return tuple(order)
    if not order:
        raise OpError(
            f"op '{op.name}' cannot run by the priority {list(names)}",
            "it is empty" if not names else f"this machine supports none of it, but {listed(op.supported_providers())}",
            "put one of these in the list" if names else f"name providers: {listed(op.supported_providers())}",
        )
    _warn_once(op, names)
    return (*order, op.impls["native"])


def _warn_once(op: IrOp, names: tuple[str, ...]) -> None:
    if names in op.warned:
        return
    op.warned.add(names)
    warnings.warn(
        f"op '{op.name}': no provider of the priority {list(names)} takes all arguments; native runs what they refuse. "
        "Add 'native' to the end of the list to silence this.",
        stacklevel=4,
    )


@contextlib.contextmanager
def scoped(scope: Scope, order: tuple[IrOpImpl, ...]) -> Generator[None]:
    """Put an order in force on this thread, and what was before it back at the end."""
    before = scope.order
    scope.order = order
    try:
        yield
    finally:
        scope.order = before


def set_priority(priorities: Mapping[str, Sequence[str]]) -> contextlib.AbstractContextManager[None]:
    """Set the priorities of several ops on this thread while a ``with`` block runs; the blocks nest.

    Args:
        priorities: name of an op -> its providers, the preferred first; `resolve` says what a list means.

    Raises:
        OpError: an op or a provider is unknown, or an op is left without; no priority has changed then.
    """
    return _all_scoped(_resolved(priorities))


@contextlib.contextmanager
def _all_scoped(orders: Sequence[tuple[IrOp, tuple[IrOpImpl, ...]]]) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        for op, order in orders:
            stack.enter_context(scoped(op.scope, order))
        yield


def set_default_priority(priorities: Mapping[str, Sequence[str]]) -> None:
    """Set the priorities of several ops for the whole process; arguments and errors as of `set_priority`."""
    for op, _ in _resolved(priorities):
        op.set_default(priorities[op.name])


def _resolved(priorities: Any) -> list[tuple[IrOp, tuple[IrOpImpl, ...]]]:
    if not isinstance(priorities, Mapping):
        raise OpError(
            f"priorities are {priorities!r}",
            "they are given by the name of the op",
            f'write {{{_first(priorities)!r}: ["native"]}}',
        )
    ops = [(find_op(name), providers) for name, providers in priorities.items()]
    return [(op, resolve(op, providers)) for op, providers in ops]


def _first(priorities: object) -> str:
    names = list(priorities) if isinstance(priorities, (list, tuple)) else [priorities]
    return str(names[0]) if names else "op"
