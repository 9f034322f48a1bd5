"""What was assumed of a call's arguments when the model was captured, held at every call.

Dynamo's guards would answer a broken assumption with another compile. Here there is none at run time: the arguments
are held to what they were, but for the dynamic dimensions, and whatever differs is an error that names it.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch

from cutaway.compiler.capture.dynamic import DynamicArgDims, dims_of
from cutaway.errors import InputError

_RECOMPILE = "nothing is compiled again at run time; compile another copy of the model for this kind of call"
_PLAIN = (bool, int, float, str, bytes, type(None))
_VALUES = (*_PLAIN, complex, enum.Enum, slice, range, torch.dtype, torch.device, torch.layout, torch.memory_format)


@dataclass(frozen=True)
class _Stride:
    """One stride of a tensor that was not contiguous: a number, or a size times a stride, as Dynamo found it.

    Attributes:
        dim: whose stride it is.
        value: the number; None when it follows from another dimension.
        behind: that dimension: its size times its stride.
    """

    dim: int
    value: int | None = None
    behind: int = 0


def _strides_of(value: torch.Tensor) -> tuple[_Stride, ...]:
    """How strides hang together, found as Dynamo does (``ShapeEnv._compute_symbolic_stride``): smallest first."""
    shape, stride = value.shape, value.stride()
    found: list[_Stride] = []
    for dim in sorted(range(value.ndim), key=lambda dim: (stride[dim], -dim)):
        behind = [one.dim for one in found if shape[one.dim] * stride[one.dim] == stride[dim]]
        follows = stride[dim] > 1 and behind
        found.append(_Stride(dim, behind=behind[-1]) if follows else _Stride(dim, stride[dim]))
    return tuple(found)


@dataclass(frozen=True)
class _TensorSpec:
    """A tensor argument: everything but the dynamic sizes, and the strides that follow from them, is fixed."""

    kind: type
    dtype: torch.dtype
    device: torch.device
    shape: tuple[int | None, ...]  # None: dynamic
    strides: tuple[_Stride, ...] | None  # None: contiguous

    @classmethod
    def of(cls, value: torch.Tensor, dynamic: list[int]) -> _TensorSpec:
        kind = torch.Tensor if type(value) is torch.nn.Parameter else type(value)
        shape = tuple(None if dim in dynamic else size for dim, size in enumerate(value.shape))
        strides = None if value.is_contiguous() else _strides_of(value)
        return cls(kind, value.dtype, value.device, shape, strides)

    def wrong(self, value: Any) -> str | None:
        kind = type(value)
        if kind is not self.kind and not (kind is torch.nn.Parameter and self.kind is torch.Tensor):
            was = "a tensor" if self.kind is torch.Tensor else f"a {self.kind.__name__}"
            return f"it is a {kind.__name__}, and was {was}"
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
        if self.strides is not None:
            return self._wrong_strides(self.strides, value)
        if not value.is_contiguous():
            return f"its strides are {value.stride()}, and it was contiguous; .contiguous() makes it so"
        return None

    def _wrong_strides(self, strides: tuple[_Stride, ...], value: torch.Tensor) -> str | None:
        shape, given = value.shape, value.stride()
        wanted = [0] * len(shape)
        for one in strides:
            wanted[one.dim] = shape[one.behind] * wanted[one.behind] if one.value is None else one.value
        if all(given[dim] == wanted[dim] or shape[dim] < 2 for dim in range(len(shape))) or not value.numel():
            return None
        return (
            f"its strides are {given}, and those of the example were {tuple(wanted)} at this size; compile with "
            "a contiguous one, and call .contiguous() on what is not"
        )


@dataclass(frozen=True)
class _ConstantSpec:
    """A number, a text, None: it was compiled in."""

    value: Any

    def wrong(self, value: Any) -> str | None:
        if value is self.value:
            return None
        if type(value) is type(self.value) and repr(value) == repr(self.value):  # tells -0.0 from 0.0, and knows NaN
            return None
        given = repr(value) if isinstance(value, _VALUES) else f"a {type(value).__name__}"
        return f"it is {given}, and {self.value!r} was compiled in"


@dataclass(frozen=True)
class _SetSpec:
    """A set: its members were compiled in. They are sorted, for the text is part of a key."""

    kind: type
    members: tuple[str, ...]

    @classmethod
    def of(cls, value: Any) -> _SetSpec:
        return cls(type(value), tuple(sorted(map(repr, value))))

    def wrong(self, value: Any) -> str | None:
        if type(value) is self.kind and self.of(value) == self:
            return None
        return f"it holds other members than {', '.join(self.members)}"


@dataclass(frozen=True)
class _ContainerSpec:
    """A tuple, list, mapping or dataclass of such."""

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


@dataclass(frozen=True, repr=False)
class _FunctionSpec:
    """A function or a class: it was traced."""

    value: Any

    def __repr__(self) -> str:
        """The same in every process."""
        return f"{self.value.__module__}.{getattr(self.value, '__qualname__', type(self.value).__qualname__)}"

    def wrong(self, value: Any) -> str | None:
        return None if value is self.value else f"it is {value!r}, and {self.value!r} was compiled in"


@dataclass(frozen=True)
class _ObjectSpec:
    """Anything else: of the same class."""

    kind: type

    def wrong(self, value: Any) -> str | None:
        return None if type(value) is self.kind else f"it is a {type(value).__name__}, and was a {self.kind.__name__}"


def _parts_of(value: Any) -> list[tuple[Any, Any]]:
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return list(value.items()) if isinstance(value, Mapping) else list(enumerate(value))


def _is_container(value: Any) -> bool:
    named = isinstance(value, tuple) and hasattr(value, "_fields")
    data = dataclasses.is_dataclass(value) and not isinstance(value, (type, torch.nn.Module))
    return type(value) in (tuple, list, dict, OrderedDict, torch.Size) or named or data


def _spec(value: Any, dynamic: int | Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _TensorSpec.of(value, dims_of(dynamic, value) if dynamic is not None else [])
    if isinstance(value, _VALUES):
        return _ConstantSpec(value)
    if isinstance(value, (set, frozenset)):
        return _SetSpec.of(value)
    if _is_container(value):
        return _ContainerSpec(type(value), tuple((key, _spec(part, dynamic)) for key, part in _parts_of(value)))
    if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
        return _FunctionSpec(value)
    return _ObjectSpec(type(value))


class InputContract:
    """What every call must keep to. Checked in a microsecond or so an argument.

    Args:
        forward: the function that was captured, without ``self``.
        args, kwargs: the example call. Dynamo's code takes arguments as they were given there, by position or by
            name; a call of another form is put into that one.
        dims: the dynamic dimensions.
    """

    def __init__(
        self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], dims: DynamicArgDims
    ) -> None:
        self.autocast = _autocast()
        self.signature = inspect.signature(forward)
        self.form = (len(args), tuple(kwargs))
        self.given = self._by_name(args, kwargs)
        with_defaults = self._by_name(args, kwargs, defaults=True)
        self.specs = {name: _spec(value, dims.get(name)) for name, value in with_defaults.items()}
        self._plan = [
            *((i, self.specs[name]) for i, name in enumerate(list(self.given)[: len(args)])),
            *((name, self.specs[name]) for name in kwargs),
        ]

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Hold a call to the contract.

        Returns:
            The call in the form in which the model was captured.

        Raises:
            InputError: an argument is not what it was; it is named, with what it was.
        """
        if (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda") or self.autocast) and (
            _autocast() != self.autocast
        ):
            raise InputError(
                "autocast is not as it was when the model was captured",
                f"it is {_autocast() or 'off'}, and was {self.autocast or 'off'}",
                _RECOMPILE,
            )
        if (len(args), tuple(kwargs)) != self.form:
            args, kwargs = self._rearranged(args, kwargs)
        for where, spec in self._plan:
            text = spec.wrong(args[where] if type(where) is int else kwargs[where])  # pyright: ignore
            if text is not None:
                raise _broken(list(self.given)[where] if isinstance(where, int) else where, text)
        return args, kwargs

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any], defaults: bool = False) -> dict[str, Any]:
        """Arguments by name, in order; ``*args`` as ``args[0]``, ..., ``**kwargs`` by their own names."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(
                "the model does not take these arguments", str(error), f"it takes {self.signature}"
            ) from error
        if defaults:
            bound.apply_defaults()
        found: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                found.update(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                found.update({f"{name}[{index}]": part for index, part in enumerate(value)})
            else:
                found[name] = value
        return found

    def _rearranged(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same call, given as the example was; what is left out there is held to what it was and dropped."""
        values = self._by_name(args, kwargs, defaults=True)
        unknown = sorted(values.keys() ^ self.specs.keys())
        if unknown:
            given = "is given now, and was not" if unknown[0] in values else "was given, and is not now"
            raise _broken(unknown[0], f"it {given}")
        for name in self.specs.keys() - self.given.keys():
            text = self.specs[name].wrong(values[name])
            if text is not None:
                raise _broken(name, text)
        names = list(self.given)
        number = self.form[0]
        return tuple(values[name] for name in names[:number]), {name: values[name] for name in self.form[1]}

    def described(self) -> dict[str, str]:
        """The contract as text by argument: part of the key of a captured model."""
        return {
            "form": repr(self.form),
            "autocast": repr(self.autocast),
            **{name: repr(spec) for name, spec in self.specs.items()},
        }


def _autocast() -> tuple[tuple[str, torch.dtype], ...]:
    """What autocast does now, by device: it was compiled in."""
    return tuple((kind, torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind))


def _broken(name: str, text: str) -> InputError:
    return InputError(f"the argument {name!r} is not as it was when the model was captured", text, _RECOMPILE)
