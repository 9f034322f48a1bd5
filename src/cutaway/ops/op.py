"""An operator with functional semantics and several implementations."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import torch
from torch import fx

from cutaway.errors import OpError
from cutaway.ops.impl import IrOpImpl
from cutaway.ops.inplace import MaybeInplace
from cutaway.ops.priority import Scope, resolve, scoped
from cutaway.ops.wrap import DEFAULT, SCOPE
from cutaway.torch_internals import OpOverload, OpOverloadPacket, packet_name

NAMESPACE = "cutaway_ir"
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")  # noqa: TOR901  (lives as long as the process: ops are never unregistered)

_NAME = re.compile(r"^[a-z_][a-z_0-9]*$")
_ops: dict[str, IrOp] = {}
registry: Mapping[str, IrOp] = MappingProxyType(_ops)
"""Every op by its name; read only."""


class IrOp:
    """An operator: one meaning (its native body), several implementations, chosen at each call or when it is lowered.

    Made by `register_op`. Calling it runs torch's operator of the same name, or, with torch wrapping switched off, the
    chosen implementation directly.

    Attributes:
        name: its name in ``torch.ops.cutaway_ir``.
        impls: provider -> implementation, ``native`` first.
        signature: of the native body.
        schema: torch's, without the name.
        activations: parameters whose memory an in-place implementation may write to.
        activation_indices: their positions.
        allow_inplace: whether there is a ``maybe_inplace``.
        torch_op: torch's operator.
    """

    def __init__(
        self,
        name: str,
        native: Callable[..., Any],
        activations: Sequence[str] | None = None,
        allow_inplace: bool = False,
    ) -> None:
        self.name = name
        self.signature = inspect.signature(native, eval_str=True)
        parameters = list(self.signature.parameters)
        self.activations = tuple(
            (name for name in parameters if name.startswith("x")) if activations is None else activations
        )
        self.activation_indices = tuple(parameters.index(name) for name in self.activations)
        self.allow_inplace = allow_inplace
        self.schema = torch.library.infer_schema(native, mutates_args=[])
        self.impls: dict[str, IrOpImpl] = {"native": IrOpImpl(self, "native", native)}
        self.scope = Scope()
        self._default: tuple[IrOpImpl, ...] = (self.impls["native"],)
        self.fake = native
        LIBRARY.define(name + self.schema)
        LIBRARY.impl(name, self._run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", self._run_fake, lib=LIBRARY)
        self.torch_op: Any = getattr(getattr(torch.ops, NAMESPACE), name).default
        if allow_inplace:
            self.maybe_inplace = MaybeInplace(self, LIBRARY)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        on = SCOPE.scoped
        if DEFAULT.on if on is None else on:
            return self.torch_op(*args, **kwargs)
        return self.dispatch(*args, **kwargs).functional(*args, **kwargs)

    def __repr__(self) -> str:
        return f"IrOp('{self.name}')"

    def __reduce__(self) -> tuple[Callable[[str], IrOp], tuple[str]]:
        return find_op, (self.name,)

    def dispatch(self, *args: Any, **kwargs: Any) -> IrOpImpl:
        """The implementation that the priority chooses for these arguments. Called at every eager call."""
        order = self.scope.order
        for impl in self._default if order is None else order:
            if impl.takes is None or impl.takes(*args, **kwargs):
                return impl
        raise AssertionError(f"the order of {self.name} does not end with an implementation that takes everything")

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        return self.dispatch(*args, **kwargs).functional(*args, **kwargs)

    def _run_fake(self, *args: Any, **kwargs: Any) -> Any:
        return self.fake(*args, **kwargs)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Say what the outputs look like without computing them; without it, the native body is asked."""
        self.fake = function
        return function

    def register_impl(
        self,
        provider: str,
        *,
        supported: bool = True,
        supports_args: Callable[..., bool] | None = None,
        inplace: bool = False,
        sources: Sequence[str | Path] = (),
    ) -> Callable[[Callable[..., Any]], IrOpImpl]:
        """Register another implementation: the same signature, the same meaning."""
        if not _NAME.match(provider):
            raise OpError(
                f"'{provider}' cannot be a provider of op '{self.name}'",
                "a provider's name is lower case letters, digits and _",
            )
        if provider in self.impls:
            raise OpError(f"op '{self.name}' has a provider '{provider}' already")

        def register(function: Callable[..., Any]) -> IrOpImpl:
            impl = IrOpImpl(
                self, provider, function, supported=supported, takes=supports_args, inplace=inplace, sources=sources
            )
            self.impls[provider] = impl
            return impl

        return register

    def with_defaults(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """All arguments by position, those that were left out as the signature's defaults."""
        bound = self.signature.bind(*args, **(kwargs or {}))
        bound.apply_defaults()
        return bound.args

    @property
    def priority(self) -> tuple[str, ...]:
        """The providers in force on this thread, the preferred first."""
        order = self.scope.order
        return tuple(impl.provider for impl in (self._default if order is None else order))

    def set_default(self, priority: Sequence[str]) -> None:
        """Set the priority for the whole process."""
        self._default = resolve(self, priority)

    @contextlib.contextmanager
    def set_priority(self, priority: Sequence[str]) -> Generator[None]:
        """Set the priority on this thread while the block runs."""
        with scoped(self.scope, resolve(self, priority)):
            yield

    def supported_providers(self) -> list[str]:
        """Providers that can run on this machine."""
        return [impl.provider for impl in self.impls.values() if impl.supported]


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
    """Register an op; the decorated function is its meaning, and its provider ``native``."""

    def register(native: Callable[..., Any]) -> IrOp:
        op_name = native.__name__ if name is None else name
        if not _NAME.match(op_name):
            raise OpError(f"an op cannot be named '{op_name}'", "a name is lower case letters, digits and _")
        if op_name in _ops:
            raise OpError(f"an op '{op_name}' is registered already")
        op = _ops[op_name] = IrOp(op_name, native, activations, allow_inplace)
        return op

    return register if function is None else register(function)


def find_op(name: str) -> IrOp:
    """The op of that name.

    Raises:
        OpError: there is none; the nearest names are given.
    """
    if name in _ops:
        return _ops[name]
    near = difflib.get_close_matches(name, _ops, n=3, cutoff=0.5)
    raise OpError(
        f"there is no op '{name}'",
        f"registered are: {', '.join(_ops) or 'none'}",
        f"did you mean {' or '.join(near)}?" if near else "import the module that registers it (cutaway.ops.library)",
    )


def ir_op_of(target: Any) -> IrOp | None:
    """The op behind a node, or behind what a node calls; None when it is another operator or no operator.

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
