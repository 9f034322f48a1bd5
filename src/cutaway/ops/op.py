"""An operator with one meaning and several implementations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, overload

import torch

from cutaway.errors import NotInplaceError, OpError
from cutaway.identity.sources import digest
from cutaway.ops.cases import EXACT, TOLERANCES, Case, InputGenerator, Inputs
from cutaway.ops.impl import IrOpImpl, check_functions, check_registration
from cutaway.ops.inplace import MaybeInplace
from cutaway.ops.lookup import find_op
from cutaway.ops.priority import Scope, resolve, scoped
from cutaway.ops.signature import check_same, schema_of, signature_of
from cutaway.ops.torch_op import any_requires_grad, define, shared_with
from cutaway.ops.wrap import DEFAULT, SCOPE


class IrOp:
    """An operator: one meaning, its native body, and several implementations of it. `register_op` makes it.

    A call goes through torch's operator of the same name, which ``torch.compile`` keeps whole for a lowering to choose
    an implementation for; with torch wrapping off it goes straight to the implementation that the priority chooses, in
    eager calls as while Dynamo traces (a compiled function is compiled anew where the priority is another).

    Where gradients are recorded, native runs, so that they flow whatever the priority. Through torch, autocast does
    not reach inside: an op computes in the dtypes that its body says.

    Attributes:
        name: its name in ``torch.ops.cutaway_ir``.
        impls: provider -> implementation, ``native`` first.
        signature: of the native body, annotations evaluated.
        schema: the same in torch's words, without the name.
        activations: parameters whose memory an in-place implementation may write to.
        activation_indices: their positions.
        allow_inplace: whether there is an overload ``maybe_inplace``.
        maybe_inplace: `MaybeInplace`, when it is allowed; else reading it raises `NotInplaceError`.
        torch_op: the ``OpOverload`` behind it, ``default``.
        fake: makes outputs without data.
        scope: the priority in force on this thread.
    """

    maybe_inplace: MaybeInplace

    def __init__(self, name: str, native: Callable[..., Any], activations: Sequence[str], allow_inplace: bool) -> None:
        whose = f"op '{name}'"
        self.name = name
        self.signature = signature_of(native, whose)
        self.schema = schema_of(self.signature, whose)
        parameters = list(self.signature.parameters)
        self.activations = tuple(activations)
        self.activation_indices = tuple(parameters.index(activation) for activation in activations)
        self.allow_inplace = allow_inplace
        self.impls: dict[str, IrOpImpl] = {"native": IrOpImpl(self, "native", native)}
        self.fake = native
        self.scope = Scope()
        self.warned: set[tuple[str, ...]] = set()
        self._default: tuple[IrOpImpl, ...] = (self.impls["native"],)
        self._inputs: Inputs | None = None
        self._tolerances: dict[torch.dtype, dict[str, float]] = {}
        self.__doc__, self.__module__, self.__name__ = native.__doc__, native.__module__, name
        self.torch_op: Any = define(name, self.schema, self.choose_and_run, native, self.run_fake)
        if allow_inplace:
            self.maybe_inplace = MaybeInplace(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        on = SCOPE.scoped
        if DEFAULT.on if on is None else on:
            return self.torch_op(*args, **kwargs)
        if torch.is_grad_enabled() and any_requires_grad(args, kwargs):
            return self.impls["native"].function(*args, **kwargs)
        return self.dispatch(*args, **kwargs).functional(*args, **kwargs)

    def __repr__(self) -> str:
        return f"IrOp('{self.name}')"

    def __reduce__(self) -> tuple[Callable[[str], IrOp], tuple[str]]:
        return find_op, (self.name,)

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "maybe_inplace":
            raise NotInplaceError(
                f"op '{self.name}' has no maybe_inplace",
                "its activations may not be written to",
                "register it with @register_op(allow_inplace=True), or call it without .maybe_inplace",
            )
        raise AttributeError(f"'IrOp' object has no attribute {attribute!r}")

    def dispatch(self, *args: Any, **kwargs: Any) -> IrOpImpl:
        """The implementation that the priority chooses for these arguments: the first that takes them.

        Called at every eager call, and traced by Dynamo: no logging, no signature, no container that is made anew.
        """
        order = self.scope.order
        for impl in self._default if order is None else order:
            takes = impl.takes
            if takes is None or takes(*args, **kwargs):
                return impl
        raise AssertionError(f"the order of {self.name} does not end with what takes all arguments")

    def choose_and_run(self, *args: Any, **kwargs: Any) -> Any:
        """What torch's dispatcher calls in the end."""
        return self.dispatch(*args, **kwargs).functional(*args, **kwargs)

    def run_fake(self, *args: Any, **kwargs: Any) -> Any:
        """What torch calls with fake tensors: never the dispatch, which may ask for what a fake tensor does not have.

        Raises:
            OpError: an output is memory of an argument, which torch does not allow and would not see.
        """
        outputs = self.fake(*args, **kwargs)
        named = dict(zip(self.signature.parameters, args, strict=False), **kwargs)
        if shared := shared_with(outputs, named):
            source = "native" if self.fake is self.impls["native"].function else "fake"
            raise OpError(
                f"the {source} body of op '{self.name}' does not return new tensors",
                f"{shared}, and a compiler would write over one without knowing of the other",
                "return a copy: .clone()",
            )
        return outputs

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Say what outputs look like without computing them; until then the native body is asked. A decorator.

        Raises:
            OpError: it has other parameters than the op.
        """
        check_same(self.signature, function, f"the fake of op '{self.name}'", types=False)
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
        """Register another implementation, of the same signature and meaning. A decorator.

        Args:
            provider: its name.
            supported: whether it can run on this machine: a device, a library, a compiler. Not a user's wish, which
                is what a priority is for.
            supports_args: whether it takes certain arguments; called with the op's at each call, so it should be
                quick, and with fake tensors, so it may look at dtypes, sizes and devices alone.
            inplace: it writes to the activations, and returns them; for ops with ``allow_inplace``.
            sources: further files that say what it computes, such as C++; changed, they change its `uuid`.

        Raises:
            OpError: the provider is there already, is ``native`` or no name; the signature is another; it is an
                in-place one where the op allows none.
        """
        check_registration(self, provider, supported, inplace)

        def register(function: Callable[..., Any]) -> IrOpImpl:
            check_registration(self, provider, supported, inplace)  # again: a decorator may be kept and used twice
            check_functions(self, provider, function, supports_args)
            impl = IrOpImpl(
                self, provider, function, supported=supported, takes=supports_args, inplace=inplace, sources=sources
            )
            self.impls[provider] = impl
            return impl

        return register

    def with_defaults(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """All arguments by position, those that are left out as the signature's defaults. Not for the hot path."""
        bound = self.signature.bind(*args, **(kwargs or {}))
        bound.apply_defaults()
        return bound.args

    @property
    def priority(self) -> tuple[str, ...]:
        """The providers in force on this thread, the preferred first; the last takes all arguments."""
        order = self.scope.order
        return tuple(impl.provider for impl in (self._default if order is None else order))

    def set_default(self, priority: Sequence[str]) -> None:
        """Set the priority for the whole process; `resolve` says what a list means and what it may not be."""
        self._default = resolve(self, priority)

    def set_priority(self, priority: Sequence[str]) -> AbstractContextManager[None]:
        """Set the priority on this thread while a ``with`` block runs; `resolve` says what a list means."""
        return scoped(self.scope, resolve(self, priority))

    def supported_providers(self) -> list[str]:
        """Providers that can run on this machine."""
        return [impl.provider for impl in self.impls.values() if impl.supported]

    def uuid(self) -> str:
        """What tells this op's meaning from another's, in any process. Raises OpError as `IrOpImpl.uuid` does."""
        return digest(f"{self.name}{self.schema} {self.impls['native'].uuid()}")

    def made_of(self) -> list[Any]:
        """What stands for it wherever code reads it: its meaning. Which implementation runs is keyed apart."""
        return [self.name, self.schema, self.impls["native"]]

    @overload
    def register_input_generator(self, function: InputGenerator, /) -> InputGenerator: ...
    @overload
    def register_input_generator(self, /, **axes: Sequence[Any]) -> Callable[[InputGenerator], InputGenerator]: ...
    def register_input_generator(self, function: InputGenerator | None = None, /, **axes: Sequence[Any]) -> Any:
        """Say how arguments are made, and for which values `cases` wants them; `cutaway.ops.cases` has an example.

        Args:
            function: takes the axes as keywords, returns the op's arguments by position.
            axes: parameter of the function -> the values that it runs through.
        """

        def register(function: InputGenerator) -> InputGenerator:
            self._inputs = Inputs(self.name, function, axes)
            return function

        return register if function is None else register(function)

    @property
    def inputs(self) -> Inputs:
        """How arguments are made. Raises OpError when nobody has said so."""
        if self._inputs is None:
            raise OpError(
                f"nobody has said how arguments of op '{self.name}' are made", "it has no input generator",
                f"decorate a function that makes some with @{self.name}.register_input_generator",
            )  # fmt: skip
        return self._inputs

    def cases(self) -> list[Case]:
        """The table that every provider is compared with native over: the product of the generator's axes."""
        return list(self.inputs.cases())

    def generate_inputs(self, *, device: str | torch.device = "cpu", seed: int = 0, **values: Any) -> tuple[Any, ...]:
        """Arguments of the op, by position: the same for the same seed.

        Args:
            device: where tensors lie.
            seed: of torch's random generator, which is left as it was.
            values: ``dtype``, ``num_tokens``, ``hidden`` and whatever else the generator takes; the first of an axis'
                values for those that are left out.
        """
        return self.inputs.generate(values, device, seed)

    def tolerance(self, dtype: torch.dtype) -> dict[str, float]:
        """How far an output of this dtype may be from native's: ``atol`` and ``rtol``; exact when nothing is known."""
        return dict(self._tolerances.get(dtype) or TOLERANCES.get(dtype, EXACT))

    def override_tolerance(self, dtype: torch.dtype, *, atol: float, rtol: float) -> None:
        """Set another tolerance for this op."""
        self._tolerances[dtype] = {"atol": atol, "rtol": rtol}
