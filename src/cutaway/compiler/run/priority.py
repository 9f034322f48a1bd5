"""The priority of a configuration around calls of its model: ops that were left whole are dispatched at each call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any

from cutaway.ops.lookup import find_op
from cutaway.ops.priority import resolve, scoped


def with_priority(call: Callable[..., Any], priority: Mapping[str, Sequence[str]]) -> Callable[..., Any]:
    """``call`` with these providers preferred while it runs; itself when there are none.

    Args:
        call: runs the model.
        priority: name of an op -> providers, the preferred first.

    Raises:
        OpError: an op or a provider is unknown, or none of a list is supported here.
    """
    if not priority:
        return call
    orders = [(op.scope, resolve(op, providers)) for op, providers in _found(priority)]  # once, not at each call

    @wraps(call)
    def prioritised(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            for scope, order in orders:
                stack.enter_context(scoped(scope, order))
            return call(*args, **kwargs)

    return prioritised


def _found(priority: Mapping[str, Sequence[str]]) -> list[tuple[Any, Sequence[str]]]:
    return [(find_op(name), providers) for name, providers in priority.items()]
