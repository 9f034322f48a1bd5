"""One implementation of an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutaway.errors import OpError
from cutaway.identity.sources import file_digest
from cutaway.ops.identity import implementation_uuid
from cutaway.ops.names import check_name, did_you_mean, listed
from cutaway.ops.signature import check_same

if TYPE_CHECKING:
    from cutaway.ops.op import IrOp


class IrOpImpl:
    """One implementation of an op: made by `IrOp.register_impl`, chosen by the op's dispatch.

    Attributes:
        op: the op that it implements.
        provider: its name among the op's implementations; ``native`` is the op's own body.
        function: what is called; an in-place one may write to the activations.
        functional: the same on copies of the activations, when it is an in-place one; else ``function`` itself.
        supported: whether it can run on this machine.
        takes: whether it takes these arguments; None when it takes all.
        inplace: whether outputs may lie in the activations' memory.
        sources: further files that say what it computes.
    """

    def __init__(
        self,
        op: IrOp,
        provider: str,
        function: Callable[..., Any],
        *,
        supported: bool = True,
        takes: Callable[..., bool] | None = None,
        inplace: bool = False,
        sources: Sequence[str | Path] = (),
    ) -> None:
        self.op = op
        self.provider = provider
        self.function = function
        self.supported = supported
        self.takes = takes
        self.inplace = inplace
        self.sources = tuple(Path(source) for source in sources)
        self.functional: Callable[..., Any] = self._on_copies if inplace else function

    def __repr__(self) -> str:
        return f"IrOpImpl('{self.op.name}', '{self.provider}')"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return implementation, (self.op, self.provider)

    @property
    def supports_all_args(self) -> bool:
        """Whether it takes every argument that the op takes."""
        return self.takes is None

    def supports_args(self, *args: Any, **kwargs: Any) -> bool:
        """Whether it takes these arguments."""
        return self.takes is None or bool(self.takes(*args, **kwargs))

    def _on_copies(self, *args: Any, **kwargs: Any) -> Any:
        """Call it on copies of the activations that are given, so that the caller's stay as they are."""
        copies = list(args)
        for index in self.op.activation_indices:
            if index < len(copies) and copies[index] is not None:
                copies[index] = copies[index].clone()
        for name in self.op.activations:
            if kwargs.get(name) is not None:
                kwargs[name] = kwargs[name].clone()
        return self.function(*copies, **kwargs)

    def uuid(self) -> str:
        """What tells this implementation from another, in any process: 64 hex digits.

        Digest of the function's source file, its loaded code, closure, defaults and the globals that it reads, of the
        functions, classes and modules that it reaches through them, and of ``sources``.

        Raises:
            OpError: part of it cannot be told from its like (a function without a file, an object whose state cannot
                be read, a missing source file).
        """
        return implementation_uuid(self)

    def made_of(self) -> dict[str, Any]:
        """What stands for it wherever code reads it."""
        return {
            "function": self.function,
            "takes": self.takes,
            "inplace": self.inplace,
            "sources": [file_digest(source, f"a source of {self!r}") for source in self.sources],
        }


def implementation(op: IrOp, provider: str, named_by: str = "") -> IrOpImpl:
    """An op's implementation by its provider.

    Args:
        op: whose implementation.
        provider: its name.
        named_by: who names it, for the error.

    Raises:
        OpError: there is none; the nearest names are given.
    """
    if provider in op.impls:
        return op.impls[provider]
    raise OpError(
        f"op '{op.name}' has no provider {provider!r}{named_by and f', which {named_by} names'}",
        f"it has: {listed(op.impls)}",
        did_you_mean(str(provider), op.impls, "name one of these, or import the module that registers it"),
    )


def check_registration(op: IrOp, provider: str, supported: object, inplace: bool) -> None:
    """Refuse what cannot be registered whatever the function is.

    Raises:
        OpError: see `IrOp.register_impl`.
    """
    if provider == "native":
        raise OpError(
            f"provider 'native' of op '{op.name}' cannot be registered",
            f"it is the op's own body, {described(op.impls['native'].function)}",
            "give the implementation another name",
        )
    check_name(provider, f"a provider of op '{op.name}'")
    if provider in op.impls:
        raise OpError(
            f"op '{op.name}' has a provider '{provider}' already",
            f"it is {described(op.impls[provider].function)}",
            "give this one another name, or register one of the two",
        )
    if not isinstance(supported, bool):
        called = "call it: supported=…()" if callable(supported) else "give True or False"
        raise OpError(
            f"provider '{provider}' of op '{op.name}' has supported={supported!r}",
            "whether it can run on this machine is said once, when it is registered",
            called,
        )
    if inplace and not op.allow_inplace:
        raise OpError(
            f"provider '{provider}' cannot be an in-place one of op '{op.name}'",
            "the op does not let its activations be written to",
            "register the op with allow_inplace=True, or let the implementation return new tensors",
        )


def check_functions(op: IrOp, provider: str, function: object, takes: object) -> None:
    """Hold an implementation, and what says which arguments it takes, to the op's signature.

    Raises:
        OpError: see `IrOp.register_impl`.
    """
    whose = f"provider '{provider}' of op '{op.name}'"
    if not callable(function):
        raise OpError(f"{whose} is no function but {function!r}", "", "decorate a function with register_impl")
    check_same(op.signature, function, whose)
    if takes is None:
        return
    if not callable(takes):
        raise OpError(
            f"supports_args of {whose} is no function but {takes!r}",
            "it is asked at each call, with the op's arguments",
            "give a function, or leave it out when every argument is taken",
        )
    check_same(op.signature, takes, f"supports_args of {whose}", types=False)


def described(function: Callable[..., Any]) -> str:
    """``module.name (file.py:12)``: where a function is found."""
    code = getattr(function, "__code__", None)
    place = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}{place}"
