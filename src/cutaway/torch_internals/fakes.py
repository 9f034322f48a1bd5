"""Fake tensors made from what is known of them, without an operator that computes it."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from types import TracebackType
from typing import Any

import torch


class FakeMaker:
    """Makes fake tensors of one mode: some 5 us each, where an operator in the mode takes 50 to 170 us.

    It adds no guard and asks nothing of a symbolic size. `fresh` and `view` are called inside a ``with`` block: what
    the mode itself enters around a meta kernel (torch/_subclasses/fake_tensor.py, ``in_kernel_invocation_manager``).

    Args:
        mode: a ``FakeTensorMode``.
    """

    def __init__(self, mode: Any) -> None:
        from torch._subclasses import fake_impls, fake_tensor  # noqa: PLC0415  (only when compiling)

        self.mode = mode
        self._kind: type = fake_tensor.FakeTensor
        self._enter = fake_tensor.in_kernel_invocation_manager
        self._detached: Any = fake_impls.fast_detach
        self._states: dict[torch.device, dict[str, Any]] = {}
        unsafe = mode._allow_unsafe_data_ptr_access
        self._protect = (
            torch._C._set_warn_deprecated_on_mutable_data_ptr if unsafe else torch._C._set_throw_on_mutable_data_ptr
        )
        self._entered: Any = None
        self._meta = torch.device("meta")

    def owns(self, value: torch.Tensor) -> bool:
        """Whether a tensor is a plain fake tensor of the mode, and of no subclass."""
        return type(value) is self._kind and value.fake_mode is self.mode  # pyright: ignore[reportUnknownMemberType]

    def own(self, value: torch.Tensor) -> torch.Tensor:
        """A fake tensor of the mode that stands for ``value``: itself, if it is one.

        Otherwise what the mode makes, and keeps, for a real tensor or another mode's. Any other kind is returned as it
        is.
        """
        if type(value) is self._kind:
            return value if value.fake_mode is self.mode else self.mode.from_tensor(value)  # pyright: ignore[reportUnknownMemberType]
        plain = type(value) in (torch.Tensor, torch.nn.Parameter)
        return self.mode.from_tensor(value, static_shapes=True) if plain else value

    def bare(self, value: torch.Tensor) -> torch.Tensor:
        """A tensor in the same memory, with nothing but its metadata.

        Constants, memos and notes that a fake tensor carries along are left behind. What is none of the mode's is
        returned as it is.
        """
        return self._detached(self.mode, value).requires_grad_(value.requires_grad) if self.owns(value) else value

    def __enter__(self) -> FakeMaker:
        self._entered = self._enter(self.mode)
        self._entered.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.__exit__(kind, error, trace)

    def fresh(
        self, shape: Any, stride: Any, offset: Any, dtype: torch.dtype, device: torch.device, nbytes: Any
    ) -> torch.Tensor:
        """A tensor in memory of its own, ``nbytes`` of it.

        ``_make_wrapper_subclass`` takes symbolic sizes and the bytes as they are; ``empty_strided`` computes the
        bytes, which takes 90 us when sizes are symbolic.
        """
        kind = self._kind
        bare = _wrapper(kind, shape, stride, storage_offset=offset, dtype=dtype, device=self._meta, storage_size=nbytes)
        made: Any = _subclass(kind, bare, False, dispatch_device=True, device_for_backend_keys=device)
        self._protect(made)
        made.__dict__.update(self._states.get(device) or self._state(device))
        return made

    def view(self, base: Any, shape: Any, stride: Any, offset: Any, dtype: torch.dtype) -> torch.Tensor:
        """A tensor in the memory of ``base``, which must have elements of the same size."""
        bare, device = torch.as_strided(base, shape, stride, offset), base._fake_device
        bare = bare if dtype is base.dtype else bare.view(dtype)
        made: Any = _subclass(self._kind, bare, False, dispatch_device=True, device_for_backend_keys=device)
        self._protect(made)
        made.__dict__.update(self._states.get(device) or self._state(device))
        return made

    def _state(self, device: torch.device) -> dict[str, Any]:
        """The attributes that ``FakeTensor(mode, bare, device)`` sets."""
        found = self._states[device] = {**_blank(), "fake_mode": self.mode, "_fake_device": device}
        return found


@functools.cache
def _blank() -> dict[str, Any]:
    """What is in every fake tensor that was just made."""
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: PLC0415  (only when compiling)

    made = FakeTensor(FakeTensorMode(), torch.empty(0, device="meta"), torch.device("cpu"))
    return {name: value for name, value in vars(made).items() if name not in ("fake_mode", "_fake_device")}


_wrapper: Any = torch.Tensor._make_wrapper_subclass
_subclass: Any = torch.Tensor._make_subclass


def plain_keys(value: torch.Tensor) -> int | None:
    """What a tensor is to the dispatcher (backend, inference tensor, ...), as bits.

    None for one that is more than sizes, strides and a dtype: sparse, quantised, nested, lazily conjugated or negated.
    """
    keys = torch._C._dispatch_keys(value).raw_repr()
    known = _plain.get(keys)
    if known is None:
        odd = value.is_conj() or value.is_neg() or value._is_zerotensor() or value.is_quantized or value.is_nested
        known = _plain[keys] = value.layout is torch.strided and not odd
    return keys if known else None


_plain: dict[int, bool] = {}


def has_symbolic_sizes(value: torch.Tensor) -> bool:
    """Whether a size, a stride or the offset of a tensor is symbolic (torch/csrc, TensorImpl)."""
    return value._has_symbolic_sizes_strides


def settings_of_mode(mode: Any) -> tuple[Any, ...] | None:
    """Switches of a fake mode that operators look at; None for one that is not torch's own, or computes for real."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415  (only when compiling)

    if type(mode) is not FakeTensorMode or mode.propagate_real_tensors:
        return None
    return (
        mode.allow_fallback_kernels,
        mode.allow_non_fake_inputs,
        mode.allow_meta,
        mode.allow_scalar_outputs,
        mode.static_shapes,
        mode.cache_enabled,
        mode._allow_unsafe_data_ptr_access,
    )
