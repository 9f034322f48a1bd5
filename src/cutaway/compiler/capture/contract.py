"""What was assumed of a call's arguments when the model was captured, held at every call.

Dynamo's guards would answer a broken assumption with another compile. Here there is none at run time: the arguments
are held to what they were, but for the dynamic dimensions, and whatever differs is an error that names it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from cutaway.compiler.capture.dynamic import DynamicArgDims, dims_of
from cutaway.errors import InputError

_RECOMPILE = "nothing is compiled again at run time; compile another copy of the model for this kind of call"
_PLAIN = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True)
class _TensorSpec:
    """A tensor argument: everything but the dynamic sizes is fixed."""

    dtype: torch.dtype
    device: torch.device
    shape: tuple[int | None, ...]  # None: dynamic

    @classmethod
    def of(cls, value: torch.Tensor, dynamic: list[int]) -> _TensorSpec:
        shape = tuple(None if dim in dynamic else size for dim, size in enumerate(value.shape))
        return cls(value.dtype, value.device, shape)

    def wrong(self, value: Any) -> str | None:
        if not isinstance(value, torch.Tensor):
            return f"it is a {type(value).__name__}, and was a tensor"
        if value.dtype is not self.dtype:
            return f"its dtype is {value.dtype}, and was {self.dtype}"
        if value.device != self.device:
            return f"it is on {value.device}, and was on {self.device}"
        shape = value.shape
        if len(shape) != len(self.shape):
            return f"it has {len(shape)} dimensions, and had {len(self.shape)}"
        for dim, size in enumerate(self.shape):
            if size is not None and shape[dim] != size:
                return f"dimension {dim} is {shape[dim]}, and was {size}; only dynamic dimensions may change"
        return None


@dataclass(frozen=True)
class _ConstantSpec:
    """A number, a text, None: it was compiled in."""

    value: Any

    def wrong(self, value: Any) -> str | None:
        if type(value) is type(self.value) and value == self.value:
            return None
        return f"it is {value!r}, and {self.value!r} was compiled in"


@dataclass(frozen=True)
class _ContainerSpec:
    """A tuple, list or mapping of such."""

    kind: type
    parts: tuple[tuple[Any, Any], ...]

    def wrong(self, value: Any) -> str | None:
        if type(value) is not self.kind:
            return f"it is a {type(value).__name__}, and was a {self.kind.__name__}"
        parts = _parts_of(value)
        if len(parts) != len(self.parts):
            return f"it has {len(parts)} parts, and had {len(self.parts)}"
        for (key, spec), (given, part) in zip(self.parts, parts, strict=True):
            text = spec.wrong(part) if key == given else f"it has {given!r} where {key!r} was"
            if text:
                return f"part {key!r}: {text}"
        return None


@dataclass(frozen=True)
class _ObjectSpec:
    """Anything else: of the same class."""

    kind: type

    def wrong(self, value: Any) -> str | None:
        return None if type(value) is self.kind else f"it is a {type(value).__name__}, and was a {self.kind.__name__}"


def _parts_of(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))


def _spec(value: Any, dynamic: int | Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _TensorSpec.of(value, dims_of(dynamic, value) if dynamic is not None else [])
    if isinstance(value, _PLAIN):
        return _ConstantSpec(value)
    if type(value) in (tuple, list, dict):
        return _ContainerSpec(type(value), tuple((key, _spec(part, dynamic)) for key, part in _parts_of(value)))
    return _ObjectSpec(type(value))


class InputContract:
    """What every call must keep to. Checked in a microsecond or so an argument.

    Args:
        forward: the function that was captured, without ``self``.
        arguments: the example arguments by name (``inspect.BoundArguments.arguments``, defaults applied).
        dims: the dynamic dimensions.
    """

    def __init__(self, forward: Callable[..., Any], arguments: Mapping[str, Any], dims: DynamicArgDims) -> None:
        self.signature = inspect.signature(forward)
        variadic = {
            name for name, p in self.signature.parameters.items() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }
        self.specs: dict[str, Any] = {}
        for name, value in arguments.items():
            if name in variadic:
                inside = _parts_of(value)
                self.specs[name] = _ContainerSpec(
                    type(value), tuple((key, _spec(part, dims.get(str(key)))) for key, part in inside)
                )
            else:
                self.specs[name] = _spec(value, dims.get(name))
        self._plans: dict[tuple[int, tuple[str, ...]], list[tuple[str, int | str, Any]] | None] = {}

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hold a call to the contract.

        Raises:
            InputError: an argument is not what it was; it is named, with what it was.
        """
        form = (len(args), tuple(kwargs))
        plan = self._plans.get(form)
        if plan is None:
            plan = self._plans[form] = self._plan(args, kwargs)
        for name, where, spec in plan:
            text = spec.wrong(args[where] if isinstance(where, int) else kwargs[where])
            if text is not None:
                raise InputError(
                    f"the argument {name!r} is not as it was when the model was captured", text, _RECOMPILE
                )

    def _plan(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, int | str, Any]]:
        """Where each argument stands in calls of this form; what is left to its default is checked here, once."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError("the model does not take these arguments", str(error)) from error
        plan: list[tuple[str, int | str, Any]] = []
        given: set[str] = set()
        for position, (name, parameter) in enumerate(self.signature.parameters.items()):
            if name not in bound.arguments:
                continue
            given.add(name)
            spec = self.specs[name]
            if parameter.kind is parameter.VAR_KEYWORD:
                inside = dict(spec.parts)
                missing = sorted(set(inside) ^ set(bound.arguments[name]))
                if missing:
                    raise InputError(f"the argument {missing[0]!r} was not given as it was", "", _RECOMPILE)
                plan += [(key, key, inside[key]) for key in bound.arguments[name]]
            elif parameter.kind is parameter.VAR_POSITIONAL:
                plan += [(f"{name}[{i}]", position + i, part) for i, part in spec.parts]
            else:
                plan.append((name, name if name in kwargs else position, spec))
        bound.apply_defaults()
        for name in self.specs.keys() - given:
            text = self.specs[name].wrong(bound.arguments.get(name))
            if text is not None:
                raise InputError(
                    f"the argument {name!r} is not as it was when the model was captured", text, _RECOMPILE
                )
        return plan

    def described(self) -> dict[str, str]:
        """The contract as text by argument: part of the key of a captured model."""
        return {name: repr(spec) for name, spec in self.specs.items()}
